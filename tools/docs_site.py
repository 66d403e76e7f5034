"""A hook for mkdocs that adds pages from outside docs/, rewrites links, and inserts the table of the job file's keys.

README files stay in their folders, and every example script becomes a page with its code. A link to a file that is not
a page, such as a manifest or a licence, becomes plain text, because the site has no copy of that file.
"""

import html
import json
import posixpath
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]

PAGES = {
    "README.md": "index.md",
    "deploy/README.md": "deployment.md",
    "dataset/README.md": "dataset.md",
    "examples/README.md": "examples/index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Path in the repository → path on the site, for pages outside docs/."""

JOB_FILE_KEYS = "<!-- job file: keys -->"
"""The table of keys replaces this marker."""

_LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```[^\n]*$)", re.DOTALL | re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages of `PAGES`, and one page per example script."""
    from mkdocs.structure.files import File  # the rest of this module needs no mkdocs

    for repository_path, site_path in PAGES.items():
        text = (PROJECT / repository_path).read_text(encoding="utf-8")
        files.append(File.generated(config, site_path, content=text))
    for script in _scripts():
        text = f"# {script.name}\n\n```python\n{script.read_text(encoding='utf-8')}```\n"
        files.append(File.generated(config, f"examples/{script.stem}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the page's text with the site's links and, in place of its marker, the table of keys."""
    if JOB_FILE_KEYS in markdown:
        markdown = markdown.replace(JOB_FILE_KEYS, job_file_table())
    return rewrite_links(markdown, page.file.src_uri, _site_paths())


def rewrite_links(markdown: str, site_path: str, site_paths: Mapping[str, str]) -> str:
    """Return `markdown` with relative links that are valid at `site_path`. Code blocks are not changed.

    Args:
        markdown: The text of a page. Its links are valid at the place of the page in the repository.
        site_path: Where the page lies on the site.
        site_paths: Path in the repository → path on the site, of every page.
    """
    origin = next((source for source, site in site_paths.items() if site == site_path), site_path)

    def rewritten(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        repository_path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if repository_path in site_paths:
            relative = posixpath.relpath(site_paths[repository_path], posixpath.dirname(site_path) or ".")
            return f"[{text}]({relative}{anchor})"
        if repository_path.startswith("docs/") or not (PROJECT / repository_path).exists():
            return match[0]  # mkdocs checks this link, and reports it if it is broken
        return text

    return "".join(part if part.startswith("```") else _LINK.sub(rewritten, part) for part in _CODE.split(markdown))


def job_file_table() -> str:
    """Return Markdown with a heading and a table of keys for each block of the job file."""
    sys.path.insert(0, str(PROJECT))
    from diagchd_batch.config.job_file import JobConfig

    schema = JobConfig.model_json_schema()
    blocks = []
    for name, block in schema["properties"].items():
        rows = "\n".join(_rows(name, block, schema.get("$defs", {})))
        blocks.append(f"## {name}\n\n| key | type | default | meaning |\n|---|---|---|---|\n{rows}\n")
    return "\n".join(blocks)


def _rows(name: str, value: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    """Yield one row per key. For a block within a block, yield the rows of its keys."""
    target = definitions.get(value.get("$ref", "").rpartition("/")[2], {})
    if "properties" not in target:
        default = value.get("default")
        shown = "" if default is None or len(str(default)) > 24 else f"`{json.dumps(default).strip(chr(34))}`"
        meaning = html.escape(value.get("description", ""), quote=False).replace("|", "\\|")
        yield f"| `{name}` | {_kind(value, definitions)} | {shown} | {meaning} |"
        return
    for key, inner in target["properties"].items():
        yield from _rows(f"{name}.{key}", inner, definitions)


def _kind(value: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return the JSON type of a key in words."""
    if "anyOf" in value:
        kinds = (_kind(choice, definitions) for choice in value["anyOf"] if choice.get("type") != "null")
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in value:
        return " or ".join(f"`{choice}`" for choice in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if "$ref" in value:
        target = definitions[value["$ref"].rpartition("/")[2]]
        return "{" + ", ".join(target["properties"]) + "}" if "properties" in target else _kind(target, definitions)
    if value.get("type") == "array":
        return f"list of {_kind(value['items'], definitions)}"
    if value.get("type") == "object":
        return "mapping"
    return {"string": "text", "boolean": "true or false"}.get(value.get("type", ""), value.get("type", "any"))


def _scripts() -> list[Path]:
    return sorted((PROJECT / "examples").glob("*.py"))


def _site_paths() -> dict[str, str]:
    docs = PROJECT / "docs"
    pages = {
        f"docs/{path.relative_to(docs).as_posix()}": path.relative_to(docs).as_posix() for path in docs.rglob("*.md")
    }
    examples = {f"examples/{path.name}": f"examples/{path.stem}.md" for path in _scripts()}
    return {**PAGES, **pages, **examples}
