package main

import (
	"fmt"
	"io"

	"tangaroa/cmd/internal/cli"
	"tangaroa/quorumcert"
)

// certificateText is a commit certificate that verifies: who signed that what ends at its position
// is committed.
type certificateText struct {
	positionText
	Signers []int `json:"signers"`
}

// certified adds a certificate, in the order of the log, if it is the first that covers an entry
// which is shown. It is at the end of a block, which may be behind the last of them.
func (x *examiner) certified(c *quorumcert.Commit) {
	before := x.covered
	x.covered = c.Index
	if c.Index < x.from || before >= x.to {
		return
	}
	x.report.Certificates = append(x.report.Certificates, certificateText{
		positionText: positionText{c.Term, c.Index, c.Hash}, Signers: numbers(c.Signers),
	})
}

// printCertificates shows who signed what is committed.
func (r *report) printCertificates(w io.Writer) {
	if len(r.Certificates) == 0 {
		return
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, c := range r.Certificates {
		rows = append(rows, []string{fmt.Sprint(c.Index), fmt.Sprint(c.Term), c.Hash.Short(),
			nodeList(c.Signers)})
	}
	_ = cli.WriteTable(w, []string{"CERTIFIED", "TERM", "HASH", "SIGNERS"}, rows)
}
