package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tangaroa/bench/run"
)

// AttackName is the file of what the faults cost.
const AttackName = "attack.json"

// Attacks is what the three faults of the mission cost.
type Attacks struct {
	Began   time.Time     `json:"began"`
	Machine Machine       `json:"machine"`
	Commit  string        `json:"commit"`
	Groups  []AttackGroup `json:"groups"`
}

// AttackGroup is one fault, or none.
type AttackGroup struct {
	Fault string      `json:"fault"`
	Does  string      `json:"does"`
	Rows  []AttackRow `json:"rows"`
}

// AttackRow is one cluster that met it.
type AttackRow struct {
	Contestant string       `json:"contestant"`
	Outcome    *run.Outcome `json:"outcome"`
}

// AttackColumns are the titles of Cells.
func AttackColumns() []string {
	return []string{
		"", "writes/s", "longest pause", "acknowledged", "failed", "lost", "set back", "apart",
		"new terms", "fallen", "told", "refused", "proofs",
	}
}

// Cells are the figures of a row. Lost, set back and apart are of so many writers.
func (r *AttackRow) Cells() []string {
	if !r.Outcome.Valid() || r.Outcome.Attack == nil {
		return []string{r.Contestant, oneLine(r.Outcome.NotStarted + r.Outcome.Void)}
	}
	a := r.Outcome.Attack
	of := func(n int) string { return fmt.Sprintf("%d of %d", n, a.Writers) }
	return []string{
		r.Contestant, number(a.LyingRate), number(a.PauseMS) + " ms",
		strconv.FormatUint(a.Acked, 10), strconv.FormatUint(a.Failed, 10), of(a.Lost), of(a.SetBack),
		of(a.Apart), strconv.Itoa(a.Traces.LeaderChanges), strconv.Itoa(a.Traces.Fallen),
		strconv.Itoa(a.Traces.Leaked), strconv.Itoa(a.Traces.Refused), strconv.Itoa(a.Traces.Proofs),
	}
}

// ReadAttacks reads what "bench attack --out" wrote; nil if there is nothing.
func ReadAttacks(dir string) (*Attacks, error) {
	text, err := os.ReadFile(filepath.Join(dir, AttackName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read attacks: %w", err)
	}
	a := &Attacks{}
	if err := json.Unmarshal(text, a); err != nil {
		return nil, fmt.Errorf("read attacks: %w", err)
	}
	return a, nil
}

const attackIntro = `Four nodes of each, 64 writers with a key each. "lost" are writers whose last
acknowledged write no honest node holds in the end, "set back" those for whom some honest node holds
an older one, "apart" those for whom honest nodes differ. "told" are writes that a third party
could read, which no replication can keep a member from telling; "refused" are messages of the liar
that honest nodes did not take, "proofs" what they hold against it for others to check.

`

// Markdown returns the attacks as text for people.
func (a *Attacks) Markdown() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n## What a liar costs\n\nCommit %s, %s, %s, %d cores.\n\n%s", a.Commit,
		a.Began.Format("2006-01-02 15:04 MST"), a.Machine.Processor, a.Machine.Cores, attackIntro)
	titles := AttackColumns()
	b.WriteString("| | " + strings.Join(titles, " | ") + " |\n|" +
		strings.Repeat("---|", len(titles)+1) + "\n")
	for i := range a.Groups {
		for k := range a.Groups[i].Rows {
			fmt.Fprintf(&b, "| %s | %s |\n", a.Groups[i].Does,
				strings.Join(a.Groups[i].Rows[k].Cells(), " | "))
		}
	}
	b.WriteString("\nRepeat it with `make bench-attack`.\n")
	return b.String()
}
