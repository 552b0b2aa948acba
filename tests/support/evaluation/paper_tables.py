"""The numbers of Tables 1 to 6 of the paper (Yao et al., ICLR 2026), and runs that have these numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.evaluation.number_run import Numbers, write_numbers

W1 = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SOUPS = ("SRSoup", "AlignProp (soup)", "TDPO (soup)", "DDPO (soup)")
AESTHETIC_COMPRESSIBILITY = ("aesthetic", "compressibility")
AESTHETIC_PICKSCORE = ("aesthetic", "pickscore")
AESTHETIC_HPSV2 = ("aesthetic", "hpsv2")

# Table -> guided rewards, then for each held-out reward: its name, SD1.5's value, and a row for each of SOUPS.
CROSS_REWARD: dict[int, tuple[tuple[str, str], list[tuple[str, str, list[str]]]]] = {
    1: (AESTHETIC_COMPRESSIBILITY, [
        ("CLIP", "0.2589", [
            "0.2692 0.2672 0.2735 0.2690 0.2549 0.2532", "0.1844 0.2298 0.2650 0.2446 0.2527 0.2464",
            "0.2379 0.2628 0.2553 0.2403 0.2590 0.2361", "0.2583 0.2665 0.2582 0.2561 0.2573 0.2552"]),
        ("HPSv2", "0.2731", [
            "0.2401 0.2423 0.2581 0.2676 0.2680 0.2673", "0.2189 0.2338 0.2571 0.2708 0.2669 0.2637",
            "0.2372 0.2538 0.2629 0.2638 0.2556 0.2514", "0.2440 0.2562 0.2644 0.2681 0.2687 0.2621"]),
    ]),
    2: (AESTHETIC_HPSV2, [
        ("CLIP", "0.2574", [
            "0.2571 0.2566 0.2591 0.2545 0.2445 0.2324", "0.2627 0.2646 0.2635 0.2631 0.2477 0.2171",
            "0.2542 0.2613 0.2662 0.2583 0.2110 0.1128", "0.2579 0.2568 0.2516 0.2509 0.2490 0.2237"]),
        ("PickScore", "0.2190", [
            "0.2300 0.2291 0.2277 0.2236 0.2189 0.2142", "0.2198 0.2216 0.2213 0.2214 0.2162 0.2069",
            "0.2198 0.2221 0.2218 0.2201 0.2056 0.1827", "0.2219 0.2235 0.2242 0.2229 0.2163 0.2065"]),
    ]),
    3: (AESTHETIC_PICKSCORE, [
        ("CLIP", "0.2574", [
            "0.2625 0.2594 0.2562 0.2543 0.2451 0.2238", "0.2404 0.2423 0.2500 0.2560 0.2460 0.2171",
            "0.2468 0.2522 0.2548 0.2526 0.2063 0.1128", "0.2439 0.2460 0.2475 0.2524 0.2449 0.2237"]),
        ("HPSv2", "0.2787", [
            "0.2878 0.2872 0.2860 0.2833 0.2762 0.2714", "0.2785 0.2793 0.2797 0.2790 0.2747 0.2655",
            "0.2742 0.2803 0.2794 0.2783 0.2662 0.2493", "0.2826 0.2829 0.2820 0.2796 0.2735 0.2647"]),
    ]),
}  # fmt: skip

TABLE_4 = {
    "K": (50, 40, 30, 20, 10, None),
    "#Query": ("3,000", "5,400", "7,800", "10,200", "12,600", "15,000"),
    "Time (min)": ("9.7 ± 0.1", "13.7 ± 0.3", "17.3 ± 0.2", "21.1 ± 0.2", "24.9 ± 0.2", "28.8 ± 0.3"),
}
# Prompts -> the memory of SRSoup and of the weighted sum with N = 26, 21, 16, 11, 6.
TABLE_5 = {
    "animal": ("20.9GB", "20.9GB", "20.9GB", "20.9GB", "20.9GB", "18.4GB"),
    "HPD": ("24.6GB", "24.6GB", "24.6GB", "24.6GB", "24.6GB", "22.1GB"),
}
TABLE_6_REWARDS = (AESTHETIC_COMPRESSIBILITY, AESTHETIC_PICKSCORE, AESTHETIC_HPSV2)
# K or N, queries, and Total, Decode and Reward of each pair of rewards.
TABLE_6 = {
    "srsoup": (
        (50, "3000", "9.2 8.8 0.2 9.7 9.0 0.3 9.7 9.0 0.3"), (40, "5400", "13.0 12.2 0.4 14.0 13.0 0.6 13.7 12.7 0.6"),
        (30, "7800", "17.1 15.9 0.6 17.4 16.2 0.8 17.6 16.2 0.9"),
        (20, "10200", "20.4 19.2 0.8 21.6 20.0 1.1 21.6 20.0 1.2"),
        (10, "12600", "24.3 23.1 0.9 25.1 23.3 1.4 25.4 23.4 1.6"),
    ),
    "weighted_sum": (
        (6, "3000", "8.2 7.5 0.3 9.3 8.4 0.5 9.4 8.5 0.5"), (11, "5500", "12.8 12.1 0.4 14.4 13.3 0.7 12.2 11.1 0.7"),
        (16, "8000", "17.7 16.8 0.6 18.4 17.0 1.0 15.7 14.3 1.0"),
        (21, "10500", "21.7 20.4 0.9 23.0 21.4 1.2 21.1 19.2 1.4"),
        (26, "13000", "24.8 23.4 1.0 27.1 25.3 1.4 25.8 23.7 1.7"),
    ),
}  # fmt: skip
METHOD_OF = {"SRSoup": "srsoup"}
REWARD_OF = {"CLIP": "clip_score", "HPSv2": "hpsv2", "PickScore": "pickscore"}
# Prompts differ by these, whose mean is 0, and a method's difference from the base model by 1e-5 of them.
OFFSETS = np.array([-0.02, -0.01, 0.005, 0.025])


def cross_reward_run(folder: Path, number: int) -> Path:
    """Write one run of four prompts whose means are those of Table 1, 2 or 3."""
    guided, blocks = CROSS_REWARD[number]
    fronts = []
    for p, offset in enumerate(OFFSETS):
        own = OFFSETS[(p + 1) % 4] / 1e5
        for m, method in enumerate(SOUPS):
            held_out = [np.array(rows[m].split(), dtype=float) + offset + own for _, _, rows in blocks]
            scores = np.column_stack([np.zeros(6), np.zeros(6), *held_out])
            fronts.append(Numbers(f"prompt {p}", METHOD_OF.get(method, method), scores))
        base = np.column_stack([np.zeros((6, 2)), *(np.full(6, float(value) + offset) for _, value, _ in blocks)])
        fronts.append(Numbers(f"prompt {p}", "unguided", base))
    model = {"model": {"name": "stable-diffusion-v1-5/stable-diffusion-v1-5"}}
    held_out_names = [REWARD_OF[name] for name, _, _ in blocks]
    return write_numbers(folder, f"table{number}", guided, held_out_names, weights(), fronts, model)


def weights() -> list[list[float]]:
    return [[w, round(1 - w, 1)] for w in W1]


def queries_run(folder: Path) -> list[Path]:
    """Write the runs of Table 4: one for each K, and one of the weighted sum, each of two prompts."""
    runs = []
    for k, queries, time in zip(*TABLE_4.values(), strict=True):
        mean, deviation = (float(part) for part in str(time).split(" ± "))
        method = "srsoup" if k is not None else "weighted_sum"
        fronts = [
            front(f"prompt {sign}", method, str(queries), {"seconds_total": 60 * (mean + sign * deviation)})
            for sign in (-1, 1)
        ]
        config: dict[str, Any] = {} if k is None else {"soup": {"steps": k}}
        runs.append(write_numbers(folder, f"k{k}", AESTHETIC_COMPRESSIBILITY, [], weights(), fronts, config))
    return runs


def front(prompt: str, method: str, queries: str, costs: dict[str, Any]) -> Numbers:
    count = int(queries.replace(",", ""))
    return Numbers(prompt, method, np.ones((6, 2)), costs={"queries": count, "decodes": count + 6} | costs)


def breakdown_runs(folder: Path) -> list[Path]:
    """Write the runs of Tables 5 and 6: five budgets of each method for each pair of rewards, one prompt each."""
    runs = []
    for pair, guided in enumerate(TABLE_6_REWARDS):
        prompts = "animal" if pair == 0 else "HPD"
        for method, rows in TABLE_6.items():
            for setting, queries, times in rows:
                place = 0 if method == "srsoup" else (0, 26, 21, 16, 11, 6).index(setting)
                costs = parts(times.split()[3 * pair : 3 * pair + 3])
                costs["peak_memory_bytes"] = round(float(TABLE_5[prompts][place].removesuffix("GB")) * 1e9)
                config: dict[str, Any] = {"prompts": {"file": f"data/{prompts}.txt"}}
                config |= {"soup": {"steps": setting}} if method == "srsoup" else {"queries": setting}
                fronts = [front("prompt", method, queries, costs)]
                name = f"{'-'.join(guided)}-{method}-{setting}"
                runs.append(write_numbers(folder, name, guided, [], weights(), fronts, config))
    return runs


def parts(minutes: Sequence[str]) -> dict[str, Any]:
    total, decode, reward = (60 * float(value) for value in minutes)
    return {
        "seconds_total": total, "seconds_lookahead": 0.6 * decode, "seconds_decode": 0.4 * decode,
        "seconds_reward": reward,
    }  # fmt: skip
