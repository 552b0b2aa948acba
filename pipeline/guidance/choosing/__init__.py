"""Which of many samples of a prompt become its front: of unguided samples, or of several guided fronts."""
