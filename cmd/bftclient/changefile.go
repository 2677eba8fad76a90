package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"tangaroa/bftraft"
	"tangaroa/cmd/internal/cli"
	"tangaroa/crypto"
)

// changeFile is a change on its way from one administrator to the next, as people read it.
type changeFile struct {
	Cluster    crypto.Digest   `json:"cluster"`
	Number     uint64          `json:"number"`
	Replaces   placeOfChange   `json:"replaces"`
	Steps      []stepOfChange  `json:"steps"`
	Signatures []signedByAdmin `json:"signatures"`
}

// placeOfChange is the end of the block of the change before.
type placeOfChange struct {
	Index bftraft.Index `json:"index"`
	Hash  crypto.Digest `json:"hash"`
}

type stepOfChange struct {
	Do      string            `json:"do"`
	Name    string            `json:"name,omitempty"`
	Address string            `json:"address,omitempty"` // of a node: its name in the protocol
	Key     *crypto.PublicKey `json:"key,omitempty"`
	Role    string            `json:"role,omitempty"`
	Quorum  uint16            `json:"quorum,omitempty"`
}

type signedByAdmin struct {
	Admin     crypto.PublicKey `json:"admin"`
	Signature crypto.Signature `json:"signature"`
}

// stepNames are the words for steps.
var stepNames = map[bftraft.StepKind]string{
	bftraft.AddClient: "add client", bftraft.RemoveClient: "remove client",
	bftraft.SetRole: "set role", bftraft.AddAdmin: "add admin",
	bftraft.RemoveAdmin: "remove admin", bftraft.SetQuorum: "set admin quorum",
	bftraft.AddNode: "add node", bftraft.RemoveNode: "remove node",
	bftraft.Promote: "promote node", bftraft.SetAddress: "set node address",
	bftraft.RollBack: "roll back",
}

// addressed says whether the name in a step is the address of a node.
func addressed(k bftraft.StepKind) bool { return k == bftraft.AddNode || k == bftraft.SetAddress }

func newChangeFile(cluster crypto.Digest, ch *bftraft.Change) *changeFile {
	f := &changeFile{
		Cluster: cluster, Number: ch.Number,
		Replaces:   placeOfChange{ch.Replaces.Index, ch.Replaces.Hash},
		Signatures: []signedByAdmin{},
	}
	for i := range ch.Steps {
		s := &ch.Steps[i]
		step := stepOfChange{Do: stepNames[s.Kind], Name: s.Name, Quorum: s.Quorum}
		if addressed(s.Kind) {
			step.Name, step.Address = "", s.Name
		}
		if !s.Key.IsZero() {
			step.Key = &s.Key
		}
		if s.Role != 0 {
			step.Role = s.Role.String()
		}
		f.Steps = append(f.Steps, step)
	}
	for _, e := range ch.Endorsements {
		f.Signatures = append(f.Signatures, signedByAdmin{e.Key, e.Sig})
	}
	return f
}

// change returns what the file says. Whether it can come into force the cluster decides.
func (f *changeFile) change() (*bftraft.Change, error) {
	ch := &bftraft.Change{
		Number:   f.Number,
		Replaces: bftraft.Position{Index: f.Replaces.Index, Hash: f.Replaces.Hash},
	}
	for i, s := range f.Steps {
		step := bftraft.ChangeStep{Name: s.Name, Quorum: s.Quorum}
		for kind, name := range stepNames {
			if name == s.Do {
				step.Kind = kind
			}
		}
		if addressed(step.Kind) {
			step.Name, s.Address, s.Name = s.Address, s.Name, ""
		}
		if s.Address != "" {
			return nil, fmt.Errorf("step %d: it has a name or an address that means nothing", i+1)
		}
		if s.Key != nil {
			step.Key = *s.Key
		}
		if s.Role != "" {
			var ok bool
			if step.Role, ok = bftraft.ParseRole(s.Role); !ok {
				return nil, fmt.Errorf("step %d: role %q is none of read, write, admin", i+1, s.Role)
			}
		}
		ch.Steps = append(ch.Steps, step)
	}
	for _, s := range f.Signatures {
		ch.Endorsements = append(ch.Endorsements,
			bftraft.Endorsement{Key: s.Admin, Sig: s.Signature})
	}
	if _, err := bftraft.DecodeChange(ch.Op()); err != nil {
		return nil, err
	}
	return ch, nil
}

// readChangeFile reads a change of a cluster.
func readChangeFile(path string, cluster crypto.Digest) (*bftraft.Change, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, cli.WithCode(cli.Usage, err)
	}
	var f changeFile
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, cli.Errorf(cli.Usage, "%s: %w", path, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, cli.Errorf(cli.Usage, "%s: there is more behind the change", path)
	}
	if f.Cluster != cluster {
		return nil, cli.Errorf(cli.Usage, "%s: it is for the cluster %s, not for %s", path,
			f.Cluster.Short(), cluster.Short())
	}
	ch, err := f.change()
	if err != nil {
		return nil, cli.Errorf(cli.Usage, "%s: %w", path, err)
	}
	return ch, nil
}

// writeChangeFile replaces or makes a file in one step, so that nobody's signature is lost.
func writeChangeFile(path string, cluster crypto.Digest, ch *bftraft.Change) error {
	text, err := json.MarshalIndent(newChangeFile(cluster, ch), "", "  ")
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), ".change-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(text, '\n'))
	if err = errors.Join(err, temp.Sync(), temp.Close(), os.Chmod(temp.Name(), 0o644)); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}

// print writes a change for people.
func (f *changeFile) print(w io.Writer) {
	fmt.Fprintf(w, "change %d of cluster %s, behind index %d\n", f.Number, f.Cluster.Short(),
		f.Replaces.Index)
	for _, s := range f.Steps {
		fmt.Fprintf(w, "  %s", s.Do)
		if s.Name != "" {
			fmt.Fprintf(w, " %q", s.Name)
		}
		if s.Address != "" {
			fmt.Fprintf(w, " at %s", s.Address)
		}
		if s.Key != nil {
			fmt.Fprintf(w, " %v", s.Key)
		}
		if s.Role != "" {
			fmt.Fprintf(w, " with role %s", s.Role)
		}
		if s.Quorum != 0 {
			fmt.Fprintf(w, " of %d", s.Quorum)
		}
		fmt.Fprintln(w)
	}
	for _, s := range f.Signatures {
		fmt.Fprintf(w, "  signed by %v\n", s.Admin)
	}
	if len(f.Signatures) == 0 {
		fmt.Fprintln(w, "  signed by nobody yet")
	}
}
