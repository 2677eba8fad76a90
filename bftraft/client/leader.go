package client

import (
	"tangaroa/bftraft"
	"tangaroa/quorumcert"
)

// leaders is what the nodes said last about term and leader. It is a guess that saves a hop and
// nothing else: a request that the leader does not answer goes to all.
type leaders struct {
	terms   [quorumcert.MaxVoters + 1]bftraft.Term
	leaders [quorumcert.MaxVoters + 1]bftraft.NodeID
}

func (l *leaders) note(s *bftraft.NodeStatus) {
	l.terms[s.From], l.leaders[s.From] = s.Term, s.Leader
}

// forget makes a node's own word void, when it has gone.
func (l *leaders) forget(id bftraft.NodeID) { l.terms[id], l.leaders[id] = 0, 0 }

// best returns the leader of the highest term about which more than f nodes agree; if there is
// none, the one that most nodes name, the newest of these; 0 if nobody names any.
func (l *leaders) best(faulty int) bftraft.NodeID {
	var best bftraft.NodeID
	var bestVotes int
	var bestTerm bftraft.Term
	for i, term := range l.terms {
		if l.leaders[i] == 0 {
			continue
		}
		votes := 0
		for j := range l.terms {
			if l.terms[j] == term && l.leaders[j] == l.leaders[i] {
				votes++
			}
		}
		sure, bestSure := votes > faulty, bestVotes > faulty
		better := sure && !bestSure
		if sure == bestSure {
			better = term > bestTerm
			if !sure {
				better = votes > bestVotes || votes == bestVotes && term > bestTerm
			}
		}
		if better {
			best, bestVotes, bestTerm = l.leaders[i], votes, term
		}
	}
	return best
}
