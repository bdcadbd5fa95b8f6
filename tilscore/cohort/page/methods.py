"""The methods of the analysis as a paragraph for a paper, from its settings and versions."""

from __future__ import annotations

from typing import Any

from tilscore.cohort.page.results import CohortResults, rows
from tilscore.cohort.page.text import factors

REFERENCES = {
    "salgado": "Salgado R, Denkert C, Demaria S, et al. The evaluation of tumor-infiltrating lymphocytes (TILs) in "
    "breast cancer: recommendations by an International TILs Working Group 2014. Ann Oncol 2015;26:259-271.",
    "zou": "Zou GY, Donner A. Construction of confidence limits about effect measures: a general approach. Stat Med "
    "2008;27:1693-1702.",
    "wilcoxon": "Wilcoxon F. Individual comparisons by ranking methods. Biometrics Bulletin 1945;1:80-83.",
    "hodges": "Hodges JL, Lehmann EL. Estimates of location based on rank tests. Ann Math Stat 1963;34:598-611.",
    "puri": "Puri ML, Sen PK. Nonparametric Methods in General Linear Models. New York: Wiley, 1985.",
    "bell": "Bell RM, McCaffrey DF. Bias reduction in standard errors for linear regression with multi-stage samples. "
    "Survey Methodology 2002;28:169-181.",
    "pustejovsky": "Pustejovsky JE, Tipton E. Small-sample methods for cluster-robust variance estimation and "
    "hypothesis testing in fixed effects models. J Bus Econ Stat 2018;36:672-683.",
    "jacobson": "Jacobson NS, Truax P. Clinical significance: a statistical approach to defining meaningful change in "
    "psychotherapy research. J Consult Clin Psychol 1991;59:12-19.",
    "holm": "Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.",
    "seabold": "Seabold S, Perktold J. Statsmodels: econometric and statistical modeling with Python. Proc 9th Python "
    "in Science Conf 2010:92-96.",
    "virtanen": "Virtanen P, Gommers R, Oliphant TE, et al. SciPy 1.0: fundamental algorithms for scientific computing "
    "in Python. Nat Methods 2020;17:261-272.",
    "brown": "Brown LD, Cai TT, DasGupta A. Interval estimation for a binomial proportion. Stat Sci 2001;16:101-133.",
    "huber": "Huber PJ. Robust estimation of a location parameter. Ann Math Stat 1964;35:73-101.",
    "iglewicz": "Iglewicz B, Hoaglin DC. How to Detect and Handle Outliers. Milwaukee: ASQC Quality Press, 1993.",
    "bonett": "Bonett DG, Wright TA. Sample size requirements for estimating Pearson, Kendall and Spearman "
    "correlations. Psychometrika 2000;65:23-28.",
    "lin": "Lin LI. A concordance correlation coefficient to evaluate reproducibility. Biometrics 1989;45:255-268.",
    "mann": "Mann HB, Whitney DR. On a test of whether one of two random variables is stochastically larger than the "
    "other. Ann Math Stat 1947;18:50-60.",
    "kruskal": "Kruskal WH, Wallis WA. Use of ranks in one-criterion variance analysis. J Am Stat Assoc "
    "1952;47:583-621.",
    "conover": "Conover WJ, Iman RL. Analysis of covariance using the rank transformation. Biometrics 1982;38:715-724.",
    "kaplan": "Kaplan EL, Meier P. Nonparametric estimation from incomplete observations. J Am Stat Assoc "
    "1958;53:457-481.",
    "cox": "Cox DR. Regression models and life-tables. J R Stat Soc B 1972;34:187-220.",
    "grambsch": "Grambsch PM, Therneau TM. Proportional hazards tests and diagnostics based on weighted residuals. "
    "Biometrika 1994;81:515-526.",
    "benjamini": "Benjamini Y, Hochberg Y. Controlling the false discovery rate: a practical and powerful approach to "
    "multiple testing. J R Stat Soc B 1995;57:289-300.",
    "davidson": "Davidson-Pilon C. lifelines: survival analysis in Python. J Open Source Softw 2019;4:1317.",
    "shrout": "Shrout PE, Fleiss JL. Intraclass correlations: uses in assessing rater reliability. Psychol Bull "
    "1979;86:420-428.",
    "cohen": "Cohen J. Weighted kappa: nominal scale agreement with provision for scaled disagreement or partial "
    "credit. Psychol Bull 1968;70:213-220.",
    "bland": "Bland JM, Altman DG. Statistical methods for assessing agreement between two methods of clinical "
    "measurement. Lancet 1986;327:307-310.",
}


def methods(found: CohortResults) -> tuple[list[str], list[str]]:
    """Paragraphs with numbers in brackets, and the references in the order of these numbers."""
    cited: list[str] = []

    def cite(*names: str) -> str:
        for name in names:
            if name not in cited:
                cited.append(name)
        return "[" + ",".join(str(cited.index(name) + 1) for name in names) + "]"

    of_change = (_change, _groups, _model, _single) if found.later else ()
    parts = [tell(found, cite) for tell in (_scores, *of_change)]
    if found.agreement is not None:
        parts.append(
            f"Agreement was described with intraclass correlations {cite('shrout')}, concordance {cite('lin')}, "
            f"quadratic kappa of the sTIL categories {cite('cohen')} and limits of agreement {cite('bland')}."
        )
    parts += [tell(found, cite) for tell, one in ((_rank, found.rank), (_assays, found.assays)) if one is not None]
    parts.append(_software(found, cite))
    return [part for part in parts if part], [REFERENCES[name] for name in cited]


def _scores(found: CohortResults, cite: Any) -> str:
    offset = found.analysis["settings"]["density_offset_per_mm2"]
    models = sorted({m for m in found.slides.get("model", []) if m})
    by = f" by the model {', '.join(models)}" if models else ""
    what = " and of a change" if found.later else ""
    scale = (
        f" Densities were analysed as log(density + {offset:g}/mm²), and changes are given as ratios; percentages were "
        "analysed as differences in points."
    )
    return (
        f"Stromal tumour-infiltrating lymphocytes (TILs {cite('salgado')}) were counted{by} on digitised H&E slides "
        "and given as TILs per mm² of evaluable stroma. The slides of a biopsy were pooled by area: the sum of TILs "
        f"over the sum of stroma. Intervals of a biopsy{what} were recovered from those of the slides {cite('zou')}."
    ) + (scale if found.later else "")


def _change(found: CohortResults, cite: Any) -> str:
    s = found.analysis["settings"]
    tests = (
        f"Changes against baseline were tested with the signed-rank test {cite('wilcoxon')} and estimated with the "
        f"Hodges-Lehmann estimate {cite('hodges')}"
    )
    rules = ", not adjusted for anything, as no known difference in the sampling could be"
    used = [row["adjusted_for"] for row in rows(found, "tests", role="primary") if row["adjusted_for"]]
    if used:
        grouped = any("against all others" in factors for factors in used)
        groups = "; where the pairs had no room for every site, the most common against all others" if grouped else ""
        rules = (
            ", both on ranks aligned for what differed within pairs of specimen type, log evaluable area, site and log "
            f"number of cores {cite('puri')}, in this order, one coefficient for {s['n_pairs_per_term']} pairs{groups}"
        )
    return (
        f"{tests}{rules}; at least {s['n_min_pairs']} pairs were needed. p values of the time points were corrected "
        f"after Holm {cite('holm')}, each score and test by itself. Supporting analyses were the mean change adjusted "
        "in the same way "
        f"(least squares, HC2 errors, Bell-McCaffrey degrees of freedom {cite('bell')}), the primary test on pairs of "
        f"one specimen type, and the unadjusted test for comparison. Intervals are {100 * s['level']:g} %; tests are "
        f"two-sided, alpha {s['alpha']:g}."
    )


def _groups(found: CohortResults, cite: Any) -> str:
    columns = list(dict.fromkeys(row["by"] for row in rows(found, "by_group")))
    if not columns:
        return ""
    return (
        f"Groups of patients ({', '.join(columns)}) of at least {found.analysis['settings']['n_min_group']} pairs were "
        f"compared by the mean change adjusted in the same way {cite('bell')}, each against the other, or against the "
        "mean of all others where there were more than two, also given the baseline; Holm's correction for time points "
        f"and groups {cite('holm')}. Mann and Whitney's test {cite('mann')} ignores the sampling and stands beside it."
    )


def _model(found: CohortResults, cite: Any) -> str:
    about = found.analysis["model_diagnostics"]
    if about.get("status") != "ok":
        return "No model of all biopsies could be fitted."
    terms = [
        row["term"].split(":")[0].replace("timepoint", "time point")
        for row in rows(found, "model")
        if row["term"] != "intercept"
    ]
    listed = ", ".join(dict.fromkeys(terms))
    how = "a random intercept for the patient (REML)" if about["kind"] == "mixed" else "patients as fixed effects"
    n, n_scored = about["n_biopsies"], found.analysis["flow"]["n_biopsies_scored"]
    few = found.analysis["settings"]["n_min_pairs"]
    which = (
        f"All {n} biopsies" if n == n_scored else f"{n} of {n_scored} biopsies (time points below {few} pairs left out)"
    )
    return (
        f"{which} of {about['n_patients']} patients entered a linear model of log density on {listed}, with {how} and "
        f"cluster-robust errors by patient (CR2, Satterthwaite's degrees of freedom {cite('pustejovsky')})."
    )


def _single(found: CohortResults, cite: Any) -> str:
    low, high = found.analysis["settings"]["categories_pct"]
    return (
        "A single patient's change was called reliable where it exceeded 1.96 times its standard error of measurement "
        f"{cite('jacobson')}, without the part that the sampling explains in the other pairs (least squares without "
        "the patient; its HC2 error was added). "
        f"Categories of sTIL were 0 to {low:g}, above {low:g} to {high:g}, and above {high:g} %."
    )


def _rank(found: CohortResults, cite: Any) -> str:
    assert found.rank is not None
    s = found.rank.get("settings") or {}
    used = list(
        dict.fromkeys(f for one in (found.rank.get("reference") or {}).values() for f in one.get("adjusted_for") or [])
    )
    where = "a reference cohort" if "reference" in (found.rank.get("inputs") or {}) else "the other patients"
    adjusted = ""
    if used:
        adjusted = (
            f", and among the studentised residuals of a robust regression {cite('huber')} of the reference on "
            f"{factors(';'.join(used))}"
        )
    return (
        f"Patients were placed among {where} by the percentile of their value, ties half{adjusted}; intervals hold the "
        f"patient's own interval and, after Jeffreys {cite('brown')}, the sampling of the reference. Values more than "
        f"{s.get('outlier_z', 3.5):g} robust SDs from the median are outliers {cite('iglewicz')}."
    )


def _assays(found: CohortResults, cite: Any) -> str:
    assert found.assays is not None
    families = {row.get("family") for row in found.assays.get("tests") or []}
    change = bool((found.assays.get("settings") or {}).get("change"))
    said = []
    if "spearman" in families:
        given = "what differed in the sampling of both biopsies" if change else "specimen type, area and site"
        said.append(f"Spearman's correlation, plain and given {given} (Fisher's z {cite('bonett')})")
    if "agreement" in families:
        of = " of log ratios" if change else ""
        said.append(f"concordance{of} {cite('lin')} and limits of agreement on logs {cite('bland')}")
    if "group" in families:
        said.append(f"groups by the tests of Mann and Whitney {cite('mann')} or Kruskal and Wallis {cite('kruskal')}")
    if "group_partial" in families:
        said.append(f"given the sampling by analysis of covariance of ranks {cite('conover')}")
    if "log_rank" in families and not change:
        said.append(
            f"Kaplan-Meier curves {cite('kaplan')} of groups by the score's quantiles with the log-rank test, and Cox "
            f"regression {cite('cox')}, alone and given specimen type, area and site as far as events allow, with a "
            f"test of proportional hazards {cite('grambsch')}"
        )
    if not said:
        return ""
    version = (found.assays.get("versions") or {}).get("lifelines")
    by = (
        f" (log-rank test and Cox regression: lifelines {version} {cite('davidson')})"
        if version and "log_rank" in families and not change
        else ""
    )
    head = "The score was compared with other assays and outcomes, one row a patient"
    if change:
        head = (
            "The change of the score was compared with the change of assays that were measured at both times (log "
            "ratio of densities, difference of others), and with other features as they were, one row a patient"
        )
    cox = "" if change else "; those of Cox models were not"
    return (
        f"{head}: {'; '.join(said)}{by}. p values were corrected for the number of columns of each kind of test after "
        f"Benjamini and Hochberg {cite('benjamini')}{cox}."
    )


def _software(found: CohortResults, cite: Any) -> str:
    v = found.analysis["versions"]
    return (
        f"Computed with tilscore {v['tilscore']} (Python {v['python']}, SciPy {v['scipy']} {cite('virtanen')}, "
        f"statsmodels {v['statsmodels']} {cite('seabold')}, pandas {v['pandas']}, NumPy {v['numpy']})."
    )
