"""How laws are tried: not timed, as on a busy machine an example may take as long as it likes, and often enough."""

from hypothesis import settings

from tests.thorough import examples

settings.register_profile("untimed", deadline=None, max_examples=examples(100))
settings.load_profile("untimed")
