package main

import (
	"fmt"
	"slices"

	"tangaroa/bftraft"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
)

// holdsOffice says whether a key is that of an administrator.
func holdsOffice(m *bftraft.Membership, k crypto.PublicKey) bool {
	return slices.ContainsFunc(m.Admins, func(a bftraft.Enrolled) bool { return a.Key == k })
}

// checkSigned says what is wrong with the signatures under a change that comes next. The cluster
// would refuse it too, but cannot say whose fault it is.
func checkSigned(cluster crypto.Digest, m *bftraft.Membership, ch *bftraft.Change) error {
	if ch.Number != m.Number+1 || ch.Replaces != m.At {
		return nil // in force already, or not what comes next: the cluster says which
	}
	if len(m.Admins) == 0 {
		return cli.Errorf(cli.NotMet, "the genesis names no administrators: nothing of this cluster "+
			"can ever be changed")
	}
	digest, scheme := ch.Digest(cluster), crypto.ZIP215()
	for _, e := range ch.Endorsements {
		if !holdsOffice(m, e.Key) {
			return cli.Errorf(cli.NotMet, "the key %v has signed, and is of nobody in office (see "+
				"bftclient member list): take its signature out of the file", e.Key)
		}
		key, err := scheme.Expand(e.Key)
		if err != nil || !scheme.VerifyAll([]crypto.Check{
			{Key: key, Domain: crypto.DomainChange, Msg: digest[:], Sig: e.Sig},
		}) {
			return cli.Errorf(cli.NotMet, "the signature of %v does not fit: the file was altered "+
				"after it was signed; draft the change anew", e.Key)
		}
	}
	if n := len(ch.Endorsements); n < m.Quorum {
		return cli.Errorf(cli.NotMet, "%d of %d signatures are needed, there %s: bftclient "+
			"sign-change adds one", m.Quorum, len(m.Admins), counted(n))
	}
	return nil
}

// counted returns the words behind "there".
func counted(n int) string {
	switch n {
	case 0:
		return "is none"
	case 1:
		return "is 1"
	}
	return fmt.Sprintf("are %d", n)
}
