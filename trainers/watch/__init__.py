"""Whether a reward is being gamed: captions judged by what they are not rewarded for, and warnings."""
