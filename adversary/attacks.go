package adversary

// attacks is the registry, in alphabetical order.
var attacks = []Attack{
	ackLiar, amnesiac, badRequest, bareQuorum, behind, clinging, drag, drip, earlyCommit, equivocate,
	falseReply, fetchStorm, flood, forger, framer, garbage, hiddenLock, hog, hold, idleBoss,
	impostor, leaky, oldRead, poison, replay, silent, slow, starve, stuff, suspectSpam, termInflation,
	twins, veiled, voteAll, voteStorm,
}
