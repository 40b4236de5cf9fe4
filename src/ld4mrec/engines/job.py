"""What a driver and a worker of Ray say to each other, in plain values."""

from dataclasses import dataclass

from ld4mrec.runs.request import Request


@dataclass(frozen=True)
class Job:
    """A run for a worker. point: of the request. id, folder: the run's. witness: a file that the
    driver wrote beside the folder, by which a worker sees whether they share it. rungs: the run's.
    patience: seconds to wait for the run's lock. command: the driver's, for manifest.json.
    """

    request: Request
    point: dict
    id: str
    folder: str
    witness: str
    rungs: dict[int, float]
    patience: float
    command: list[str]


@dataclass(frozen=True)
class Answer:
    """How a job went. refused: a sentence, if nothing of its request can be trained there. held:
    another process holds the run. Else the run's `outcome`, {field of Run: value}, and the folder
    it is in, with the files that go back, [(name, bytes)], where the driver does not share it.
    """

    outcome: dict | None = None
    folder: str = ""
    files: list[tuple[str, bytes]] | None = None
    refused: str = ""
    held: bool = False
