"""The methods of the analysis as a paragraph for a paper, from its settings and versions."""

from __future__ import annotations

from typing import Any

from tilscore.cohort.page.gathered import Gathered, rows

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
    "bland": "Bland JM, Altman DG. Statistical methods for assessing agreement between two methods of clinical "
    "measurement. Lancet 1986;327:307-310.",
}


def methods(found: Gathered) -> tuple[list[str], list[str]]:
    """Paragraphs with numbers in brackets, and the references in the order of these numbers."""
    cited: list[str] = []

    def cite(*names: str) -> str:
        for name in names:
            if name not in cited:
                cited.append(name)
        return "[" + ",".join(str(cited.index(name) + 1) for name in names) + "]"

    parts = [tell(found, cite) for tell in (_scores, _change, _model, _single)]
    if found.agreement is not None:
        parts.append(f"Agreement was described with limits of agreement {cite('bland')}.")
    parts.append(_software(found, cite))
    return parts, [REFERENCES[name] for name in cited]


def _scores(found: Gathered, cite: Any) -> str:
    offset = found.analysis["settings"]["density_offset_per_mm2"]
    models = sorted({m for m in found.slides.get("model", []) if m})
    by = f" by the model {', '.join(models)}" if models else ""
    return (
        f"Stromal tumour-infiltrating lymphocytes (TILs {cite('salgado')}) were counted{by} on digitised H&E slides "
        "and given as TILs per mm² of evaluable stroma. The slides of a biopsy were pooled by area: the sum of TILs "
        "over the sum of stroma. Intervals of a biopsy and of a change were recovered from those of the slides "
        f"{cite('zou')}. Densities were analysed as log(density + {offset:g}/mm²), and changes are given as ratios; "
        "percentages were analysed as differences in points."
    )


def _change(found: Gathered, cite: Any) -> str:
    s = found.analysis["settings"]
    return (
        f"Changes against baseline were tested with the signed-rank test {cite('wilcoxon')} and estimated with the "
        f"Hodges-Lehmann estimate {cite('hodges')}, both on ranks aligned for the differences within pairs in specimen "
        f"type, log evaluable area, site and log number of cores {cite('puri')}, in this order, one coefficient for "
        f"{s['n_pairs_per_term']} pairs; at least {s['n_min_pairs']} pairs were needed. p values of the time points "
        f"were corrected after Holm {cite('holm')}. Supporting analyses were the mean change adjusted in the same way "
        f"(least squares, HC2 errors, Bell-McCaffrey degrees of freedom {cite('bell')}), the primary test on pairs of "
        f"one specimen type, and the unadjusted test for comparison. Intervals are {100 * s['level']:g} %; tests are "
        f"two-sided, alpha {s['alpha']:g}."
    )


def _model(found: Gathered, cite: Any) -> str:
    about = found.analysis["model_diagnostics"]
    if about.get("status") != "ok":
        return "No model of all biopsies could be fitted."
    terms = [row["term"].split(":")[0] for row in rows(found, "model") if row["term"] != "intercept"]
    listed = ", ".join(dict.fromkeys(terms))
    how = "a random intercept for the patient (REML)" if about["kind"] == "mixed" else "patients as fixed effects"
    return (
        f"All {about['n_biopsies']} biopsies of {about['n_patients']} patients entered a linear model of log density "
        f"on {listed}, with {how} and cluster-robust errors by patient (CR2, Satterthwaite's degrees of freedom "
        f"{cite('pustejovsky')})."
    )


def _single(found: Gathered, cite: Any) -> str:
    low, high = found.analysis["settings"]["categories_pct"]
    return (
        "A single patient's change was called reliable where it exceeded 1.96 times its standard error of measurement "
        f"{cite('jacobson')}, without the part that the sampling explains in the other pairs (least squares without "
        "the patient; its HC2 error was added). "
        f"Categories of sTIL were 0 to {low:g}, above {low:g} to {high:g}, and above {high:g} %."
    )


def _software(found: Gathered, cite: Any) -> str:
    v = found.analysis["versions"]
    return (
        f"Computed with tilscore {v['tilscore']} (Python {v['python']}, SciPy {v['scipy']} {cite('virtanen')}, "
        f"statsmodels {v['statsmodels']} {cite('seabold')}, pandas {v['pandas']}, NumPy {v['numpy']})."
    )
