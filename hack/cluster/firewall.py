"""The firewall chains of the cluster: one of our own that lets Pods talk, and the removal of everyone's.

kube-proxy and kubelet leave their chains behind when they end, by design; `down` is where they go.
"""

from __future__ import annotations

import re

from hack.cluster.network import Network
from hack.cluster.packages import locate
from hack.command import run

PREFIXES = ("KUBE-", "TRIMTAB-")
FORWARD = "TRIMTAB-FORWARD"


def removal(saved: str, prefixes: tuple[str, ...] = PREFIXES) -> str:
    """Turn the output of `iptables-save` into input of `iptables-restore --noflush` that removes our chains.

    Rules of other chains that jump to ours are deleted first, then every chain of ours is emptied, then deleted: a
    chain that is referred to cannot go. Empty when there is nothing to remove.
    """
    commands: list[str] = []
    for table, body in re.findall(r"^\*(\S+)\n(.*?)^COMMIT$", saved, re.MULTILINE | re.DOTALL):
        chains = [name for name in re.findall(r"^:(\S+)", body, re.MULTILINE) if name.startswith(prefixes)]
        jumps = re.findall(r"^-A (\S+) (.*-[jg] (\S+).*)$", body, re.MULTILINE)
        deleted = [f"-D {chain} {rule}" for chain, rule, to in jumps if to in chains and chain not in chains]
        if chains:
            emptied, removed = [f"-F {chain}" for chain in chains], [f"-X {chain}" for chain in chains]
            commands += [f"*{table}", *deleted, *emptied, *removed, "COMMIT"]
    return "".join(f"{command}\n" for command in commands)


def clear() -> None:
    """Remove the chains of kube-proxy, kubelet and our own from every table, IPv4 and IPv6."""
    for family in ("iptables", "ip6tables"):
        if locate(f"{family}-save") is None:
            continue
        commands = removal(run([f"{family}-save"]))
        if commands:
            run([f"{family}-restore", "--noflush", "--wait", "10"], stdin=commands)


def let_pods_talk(network: Network) -> None:
    """Accept forwarded packets from and to Pods, also where the machine's policy is to drop them (Docker's is)."""
    run(["iptables", "--wait", "-N", FORWARD], check=False)
    jump = ["FORWARD", "-j", FORWARD]
    rules = [[FORWARD, "-s", str(network.pods), "-j", "ACCEPT"], [FORWARD, "-d", str(network.pods), "-j", "ACCEPT"]]
    saved = run(["iptables", "--wait", "-S"])
    for rule in rules:
        if f"-A {' '.join(rule)}" not in saved:
            run(["iptables", "--wait", "-A", *rule])
    if f"-A {' '.join(jump)}" not in saved:
        run(["iptables", "--wait", "-I", *jump])
