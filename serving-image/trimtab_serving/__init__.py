"""Trimtab's model server: fetches a bundle by digest, serves it over the Open Inference Protocol.

It shares no code with the operator; the two meet in docs/contract.md only.
"""

__version__ = "0.1.0"
