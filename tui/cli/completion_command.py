"""vcb completion: what a shell needs to complete commands, flags, and the words that an option takes."""

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print the completion script of a shell.

    bash: vcb completion bash > ~/.local/share/bash-completion/completions/vcb
    zsh: vcb completion zsh > a directory of $fpath, as _vcb
    fish: vcb completion fish > ~/.config/fish/completions/vcb.fish

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    from tui.cli.app import application  # noqa: PLC0415 - the program imports this module, not the reverse

    print(application().generate_completion(shell=shell))
    return 0
