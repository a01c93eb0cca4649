"""SeenBefore: held-out stimuli that are new to a run, but not to the weights that it begins from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SeenBefore:
    """Held-out stimuli of one subject from which a trained trunk has learnt.

    Args:
        subject: Whose held-out stimuli.
        split: Of which held-out split.
        count: How many of them it has learnt from.
        stimuli: How many there are.
    """

    subject: str
    split: str
    count: int
    stimuli: int

    def sentence(self) -> str:
        """For the log and the report."""
        return (
            f"{self.subject}, {self.split}: {self.count:,} of {self.stimuli:,} stimuli are not new to the trunk: the "
            "run of --model.head.trunk_weights has learnt from them, so scores and gains may be too high; give both "
            "runs one --data.split_seed, or leave these images out of that run."
        )
