package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	ucli "github.com/urfave/cli/v2"
)

// Version says which program this is, as far as the build recorded it.
type Version struct {
	Version  string `json:"version"`            // of the module; "devel" for a local build
	Revision string `json:"revision,omitempty"` // commit
	Time     string `json:"time,omitempty"`     // of the commit
	Modified bool   `json:"modified,omitempty"` // the tree had changes that were not committed
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// ReadVersion reads what the Go toolchain wrote into the binary.
func ReadVersion() Version {
	v := Version{
		Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.time":
			v.Time = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}

// VersionCommand prints the version.
func VersionCommand() *ucli.Command {
	return &ucli.Command{
		Name: "version", Usage: "print version, commit and Go version",
		Action: func(c *ucli.Context) error {
			v := ReadVersion()
			return Print(c, v, func(w io.Writer) { v.print(w, c.App.Name) })
		},
	}
}

func (v Version) print(w io.Writer, name string) {
	fmt.Fprintf(w, "%s %s", name, v.Version)
	if v.Revision != "" {
		fmt.Fprintf(w, " (%.12s", v.Revision)
		if v.Modified {
			fmt.Fprint(w, ", modified")
		}
		fmt.Fprint(w, ")")
	}
	fmt.Fprintf(w, " %s %s\n", v.Go, v.Platform)
}
