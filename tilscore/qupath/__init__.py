"""What goes to QuPath and comes from it: cells out; drawn areas, and the objects that they are made of, in."""
