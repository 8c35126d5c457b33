"""The one kind of error a user can mend."""


class UserError(ValueError):
    """Something the caller got wrong, said in one sentence: the value, the choices, a next step.

    The command line prints it without a traceback and exits with code 2; from Python it is a ValueError.
    """
