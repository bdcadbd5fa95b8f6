"""Statistics that know nothing of slides: agreement, paired change, intervals."""
