"""Serious findings of axe on a page, in the light and in the dark theme.

The rules about colours cost more time than all other rules together. Their result depends only on the *look* of a text:
its colour, font and decoration, the colour of the text around it, and the backgrounds behind it. So these rules run for
the first text with each look. All other rules run on each page, except rules whose findings are never serious.
"""

from collections.abc import Iterator
from typing import Any

SERIOUS = ("serious", "critical")
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
# Looks that were checked in this process, by theme.
_known: dict[str, set[str]] = {"light": set(), "dark": set()}

# Arguments: the rules about colours, the known looks, and whether the theme is dark. Returns the findings of all rules
# in the light theme, or of the rules about colours in the dark theme, and the new looks.
_FIND = """async ([colourRules, known, isDark]) => {
    document.documentElement.classList.toggle("dark", isDark);
    const run = async (context, options) => (
        await axe.run(context, {resultTypes: ["violations"], ...options})
    ).violations.map((found) => [
        found.impact, found.id, found.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")]);
    // The impact of a rule is the impact of all its findings.
    const mild = axe._audit.rules.filter((rule) => ["minor", "moderate"].includes(rule.impact)).map((rule) => rule.id);
    const off = Object.fromEntries([...colourRules, ...mild].map((rule) => [rule, {enabled: false}]));
    const found = isDark ? [] : await run(document, {rules: off});

    const grounds = new Map(), looks = new Map(), checked = new Set(known);
    // The backgrounds from the element outwards. A positioned element may lie over any other, so it is named.
    const groundOf = (element) => {
        if (!element) return "";
        if (!grounds.has(element)) {
            const style = getComputedStyle(element);
            const colour = style.backgroundColor === "rgba(0, 0, 0, 0)" ? "" : style.backgroundColor;
            const image = style.backgroundImage === "none" ? "" : style.backgroundImage;
            const opacity = style.opacity === "1" ? "" : style.opacity;
            const place = /absolute|fixed|sticky/.test(style.position) ? `${style.position} ${element.className}` : "";
            const own = colour + image + opacity + place, behind = groundOf(element.parentElement);
            grounds.set(element, own ? `${own}/${behind}` : behind);
        }
        return grounds.get(element);
    };
    for (const element of document.body.querySelectorAll("*")) {
        const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!(hasText || element.matches("input, select, textarea")) || !element.checkVisibility()) continue;
        const whole = element.closest("a[href]") ?? element;  // a link is compared with the text around it
        const style = getComputedStyle(element), around = getComputedStyle(whole.parentElement);
        const look = [whole.localName, style.color, style.fontSize, style.fontWeight, style.textShadow, around.color,
            getComputedStyle(whole).textDecorationLine, groundOf(element)].join("|");
        if (!checked.has(look) && !looks.has(look)) looks.set(look, whole);
    }
    if (looks.size) {
        const options = {runOnly: {type: "rule", values: colourRules}};
        found.push(...await run({include: [...looks.values()]}, options));
    }
    return [found, [...looks.keys()]];
}"""


def serious_findings(page: Any) -> Iterator[str]:
    """Yield the serious and critical findings. The page has loaded axe."""
    for theme, known in _known.items():
        found, looks = page.evaluate(_FIND, [COLOUR_RULES, sorted(known), theme == "dark"])
        known.update(looks)
        for impact, rule, where in found:
            if impact in SERIOUS:
                yield f"{theme}: {rule} ({impact}) at {where}"
