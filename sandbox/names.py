"""What the names of workspace files look like. They come from clients and programs alike."""

from sandbox.runner.names import is_safe_name

__all__ = ["is_safe_name", "librechat_name"]


def librechat_name(name: str) -> str:
    """The name under which LibreChat's database keeps an upload of this name.

    JavaScript counts UTF-16 units, so that an emoji becomes two underscores.
    """
    units = name.rsplit("/", 1)[-1].encode("utf-16-le", "surrogatepass")
    clean = "".join(
        chr(low) if high == 0 and _is_kept(chr(low)) else "_"
        for low, high in zip(units[::2], units[1::2], strict=True)
    )
    return "_" + clean if clean.startswith(".") else clean


def _is_kept(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char in ".-")
