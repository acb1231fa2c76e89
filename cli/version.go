package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/clade-vm/clade"
)

func (a *app) versionVerb() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Long:    `Version prints which clade this is. It opens no home.`,
		Example: `  clade version --json`,
		Args:    nothing,
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		if *asJSON {
			return a.printJSON(map[string]string{"version": clade.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
		}
		return a.print("clade %s", clade.Version)
	}
	return cmd
}
