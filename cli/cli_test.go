package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
	"github.com/clade-vm/clade/cli"
	"github.com/clade-vm/clade/lab/fake"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"clade": func() { os.Exit(command()) }})
}

// command is clade as scripts run it: on a fake home kept in a file.
func command() int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	return cli.Run(ctx, os.Args[1:], cli.Env{In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Home: os.Getenv("CLADE_HOME"), Services: open})
}

// open opens the fake home in a directory. The home "broken" cannot be opened.
func open(_ context.Context, home string) (clade.Services, error) {
	if filepath.Base(home) == "broken" {
		return nil, &clade.Error{Op: "open", On: "home " + filepath.Base(home), Kind: clade.Denied, Err: errors.New("permission denied"), Hint: "choose another with --home"}
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	if knobs := os.Getenv("KNOBS"); knobs != "" {
		file := filepath.Join(home, "home.json")
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(file, []byte(`{"knobs":`+knobs+`}`), 0o600); err != nil {
				return nil, err
			}
		}
	}
	return fake.Open(filepath.Join(home, "home.json"))
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("CLADE_HOME", filepath.Join(e.WorkDir, "home"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
	})
}

// status N COMMAND... runs a command that must end with exactly this status.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		_, got, _ = strings.Cut(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("%s ended with status %q (%v), want %s", strings.Join(args[1:], " "), got, err, args[0])
	}
}

// run performs one command on a home in memory.
func run(t *testing.T, home clade.Services, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = cli.Run(t.Context(), args, cli.Env{In: strings.NewReader(""), Out: &o, Err: &e, Home: t.TempDir(),
		Services: func(context.Context, string) (clade.Services, error) { return unclosed{home}, nil }})
	return status, o.String(), e.String()
}

// unclosed hides the home's Close, which would have no file to write.
type unclosed struct{ clade.Services }

// prepared returns a home with the master "parent" and the template debian-12:1.
func prepared(t *testing.T, k fake.Knobs) *fake.Home {
	t.Helper()
	home := fake.New(k)
	if _, err := home.Build(t.Context(), clade.BuildSpec{Recipe: "debian-12", Name: "parent"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := home.CreateTemplate(t.Context(), clade.TemplateSpec{Ref: clade.Ref{Name: "debian-12", Version: "1"}, Machine: "parent"}, nil); err != nil {
		t.Fatal(err)
	}
	return home
}

// TestLongChainsAreMarked has one machine with a layer more than the budget.
func TestLongChainsAreMarked(t *testing.T) {
	home := prepared(t, fake.Knobs{})
	run(t, home, "clone", "debian-12", "long")
	for i := range clade.ChainBudget - 1 {
		if status, _, errs := run(t, home, "snapshot", "create", "long", fmt.Sprint("s", i)); status != 0 {
			t.Fatal(errs)
		}
	}
	_, list, _ := run(t, home, "ls")
	_, shown, _ := run(t, home, "show", "long")
	if !strings.Contains(list, " 17 of 16 ") || !strings.Contains(shown, "depth         17 of 16: clade compact long") {
		t.Errorf("ls and show of a machine with 17 layers:\n%s\n%s", list, shown)
	}
	for _, at := range []int{1, 2} { // 1: parent, within the budget
		if line := strings.Split(list, "\n")[at]; strings.Contains(line, " of 16") != strings.HasPrefix(line, "long") {
			t.Errorf("ls says %q", line)
		}
	}
}
