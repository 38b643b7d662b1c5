"""Why TikTok could not be asked for numbers, or did not tell them."""


class NoTurn(Exception):
    """The quota has no room soon; what was to be asked stays due. `wait` is when to look again, in seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"no turn within {wait:g} s")
        self.wait = wait


class MayNotLook(Exception):
    """The account is paused, expired or gone, or its grant lacks the scope: the next event of the account may change that."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ScopeDenied(MayNotLook):
    """TikTok says that the grant lacks the scope, though accounts knows that it has it: no event may ever come of that."""


class LookFailed(Exception):
    """It failed for a passing reason; `retry_after` in seconds where a wait was asked for, else 0."""

    def __init__(self, code: str, *, retry_after: float = 0.0) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after = retry_after
