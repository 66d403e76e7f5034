"""ROC curve with the readers as points, and the calibration diagram."""

from diagchd_batch.report.figures.svg import Axes, drawing, element
from diagchd_batch.report.source import Row


def roc(points: list[Row], operating: dict[tuple[str, str], dict[str, Row]], description: str) -> str:
    """`operating`: (kind, subject) → its headline rows `recall` and `specificity`."""
    axes = Axes(440, 440, "1 − specificity", "sensitivity")
    axes.diagonal()
    axes.curve([(row["x"], row["y"]) for row in points])
    for (kind, name), rates in operating.items():
        recall, specificity = rates["recall"], rates["specificity"]
        x, y = axes.x(1 - specificity["value"]), axes.y(recall["value"])
        style = "model" if kind == "model" else "reader" if kind == "reader" else "group"
        if recall["ci_low"] is not None:
            low, high = axes.y(recall["ci_low"]), axes.y(recall["ci_high"])
            axes.parts.append(element("line", x1=x, x2=x, y1=low, y2=high, class_=f"error {style}"))
        if specificity["ci_low"] is not None:
            low, high = axes.x(1 - specificity["ci_high"]), axes.x(1 - specificity["ci_low"])
            axes.parts.append(element("line", x1=low, x2=high, y1=y, y2=y, class_=f"error {style}"))
        axes.parts.append(
            f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{5 if kind == "model" else 4}" class="point {style}">'
            f"{element('title', name)}</circle>"
        )
    for place, (style, label) in enumerate((("model", "model"), ("reader", "readers"), ("group", "mean, majority"))):
        y = axes.bottom - 58 + 20 * place
        axes.parts += [
            element("circle", cx=axes.right - 116, cy=y - 4, r=4, class_=f"point {style}"),
            element("text", label, x=axes.right - 106, y=y),
        ]
    return drawing(axes.width, axes.height, "ROC curve", description, axes.parts)


def calibration(bins: list[Row], description: str) -> str:
    """`bins`: rows of the table `calibration` that hold units."""
    axes = Axes(440, 440, "mean score in bin", "share with disease")
    axes.diagonal()
    for row in bins:
        x = axes.x(row["mean_score"])
        if row["ci_low"] is not None:
            low, high = axes.y(row["ci_low"]), axes.y(row["ci_high"])
            axes.parts.append(element("line", x1=x, x2=x, y1=low, y2=high, class_="error model"))
        axes.parts.append(element("circle", cx=x, cy=axes.y(row["observed"]), r=4, class_="point model"))
    return drawing(axes.width, axes.height, "Calibration", description, axes.parts)
