"""All-ranking evaluation as loops over users, ranks and cut-offs, straight from the definitions."""

from math import log2


def slow_metric(name, hits, relevant, k):
    """One user's metric at cut-off k. hits: 0/1 by rank; relevant: how many relevant items there
    are.
    """
    if name == "recall":
        return sum(hits[:k]) / relevant
    if name == "precision":
        return sum(hits[:k]) / k
    if name == "ndcg":
        gain = sum(1 / log2(i + 2) for i in range(k) if hits[i])
        return gain / sum(1 / log2(i + 2) for i in range(min(k, relevant)))
    if name == "map":
        total = sum(sum(hits[: i + 1]) / (i + 1) for i in range(k) if hits[i])
        return total / min(k, relevant)
    raise ValueError(name)


def slow_metrics(scores, train, truth, metrics, topk):
    """{'recall@20': ...} for a table of scores (U, I) without ties and lists of (user, item)."""
    results = {}
    for metric in (name.lower() for name in metrics):
        for k in topk:
            values, all_hits, all_relevant = [], 0, 0
            for user in dict.fromkeys(u for u, _ in truth):
                masked = {i for u, i in train if u == user}
                candidates = [i for i in range(len(scores[0])) if i not in masked]
                ranked = sorted(candidates, key=lambda i: -scores[user][i])
                relevant = [i for u, i in truth if u == user]
                hits = [int(i in relevant) for i in ranked] + [0] * len(masked)
                all_hits += sum(hits[:k])
                all_relevant += len(relevant)
                if metric != "recall2":
                    values.append(slow_metric(metric, hits, len(relevant), k))
            key = f"{metric}@{k}"
            results[key] = (
                all_hits / all_relevant if metric == "recall2" else sum(values) / len(values)
            )
    return results
