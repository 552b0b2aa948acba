"""What `check` prints about the prompts of a plan, so that a file that was read wrongly is seen before a run."""

from collections import Counter
from collections.abc import Sequence

from actors.from_config import source_of
from configs.sections.model import ModelConfig
from diffusion.errors import ModelError, NotHereError
from diffusion.prompt_cuts import prompt_cuts
from pipeline.planning.prompts import Prompt

NOT_HERE = "not on this machine yet: `run` downloads them"
_ENDS = 3
_CHARACTERS = 100
_STYLES = 8


def prompt_rows(prompts: Sequence[Prompt], model: ModelConfig) -> list[tuple[str, str]]:
    """Return headings with texts: number, first and last prompts, equal ones, styles, and those that are cut.

    Args:
        prompts: the prompts; none if they are not on this machine yet.
        model: the section of the model, whose tokenizers cut long prompts.
    """
    if not prompts:
        return [("prompts", NOT_HERE)]
    rows = [("prompts", f"{len(prompts):,}, from {_sources(prompts)}"), ("first prompts", _shown(prompts[:_ENDS]))]
    if last := prompts[_ENDS:][-_ENDS:]:
        rows.append(("last prompts", _shown(last)))
    rows.append(("equal prompts", _equal(prompts)))
    styles = Counter(prompt.style for prompt in prompts if prompt.style is not None)
    rows.append(("styles", _listed([f"{style!r} ({count:,})" for style, count in styles.items()])))
    rows.append(("cut prompts", _cut(model, [prompt.text for prompt in prompts])))
    return rows


def _sources(prompts: Sequence[Prompt]) -> str:
    sources = list(dict.fromkeys(prompt.source for prompt in prompts))
    return sources[0] if len(sources) == 1 else f"{len(sources):,} files, {sources[0]} to {sources[-1]}"


def _shown(prompts: Sequence[Prompt]) -> str:
    """One line for each prompt, as a Python string, so that spaces and characters without a shape are seen."""
    lines = [repr(prompt.text) for prompt in prompts]
    return "\n".join(
        line if len(line) <= _CHARACTERS else f"{line[:_CHARACTERS]}... ({len(prompt.text):,} characters)"
        for line, prompt in zip(lines, prompts, strict=True)
    )


def _equal(prompts: Sequence[Prompt]) -> str:
    times = Counter(prompt.text for prompt in prompts)
    repeated = len(prompts) - len(times)
    if not repeated:
        return "none"
    text, count = times.most_common(1)[0]
    verb = "repeats" if repeated == 1 else "repeat"
    return f"{repeated:,} {verb} an earlier one; most often {text!r:.{_CHARACTERS}}, {count:,} times"


def _listed(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - _STYLES:,} more" if len(parts) > _STYLES else ""
    return ", ".join(parts[:_STYLES]) + more or "none"


def _cut(model: ModelConfig, texts: Sequence[str]) -> str:
    try:
        cuts = prompt_cuts(source_of(model), texts)
    except NotHereError:
        return "not known until the model is here"
    except ModelError as error:
        return f"not known: {error.problem}"
    found = [f"{cut.prompts:,} by {cut.tokenizer}, after {cut.limit} tokens" for cut in cuts if cut.prompts]
    return ", ".join(found) or "none"
