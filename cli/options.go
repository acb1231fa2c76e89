package cli

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/clade-vm/clade"
	"github.com/spf13/cobra"
)

// maxInput bounds the small files that a command line names: user data and keys.
const maxInput = 1 << 20

// optionFlags are the flags common to all verbs that make machines.
type optionFlags struct {
	cpus     int
	memory   clade.Bytes
	network  string
	ip       string
	hostname string
	userData string
	sshKeys  []string
	firmware string
	isolated bool
	data     []string
}

func (o *optionFlags) add(a *app, cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&o.cpus, "cpus", 0, "processors (default: the source's)")
	f.Var(&o.memory, "memory", "memory, such as 512M or 2G (default: the source's)")
	f.StringVar(&o.network, "network", "", `a network's name, "bridge:NAME" or "none" (default "default")`)
	f.BoolVar(&o.isolated, "isolated", false, "it reaches its network's gateway and no other machine")
	f.StringVar(&o.ip, "ip", "", "an address in the network (default: the next free one)")
	f.StringVar(&o.hostname, "hostname", "", "the guest's hostname (default: the machine's name)")
	f.StringVar(&o.userData, "user-data", "", "a file with cloud-init user data, passed on unchanged")
	f.StringArrayVar(&o.sshKeys, "ssh-key", nil, "a public key, or a file with some, that may log in; can be given again")
	f.StringArrayVar(&o.data, "data-disk", nil, "an empty disk of that size beside the system's, as [LABEL=]SIZE[:DIRECTORY]; can be given again")
	complete(cmd, "network", a.completeNetworks)
}

// addFirmware adds the flag for disks that clade does not know.
func (o *optionFlags) addFirmware(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.firmware, "firmware", "", "bios or uefi (default bios)")
	complete(cmd, "firmware", cobra.FixedCompletions([]string{"bios", "uefi"}, cobra.ShellCompDirectiveNoFileComp))
}

// options reads the files that the flags name.
func (o *optionFlags) options(cmd *cobra.Command) (clade.Options, error) {
	out := clade.Options{Hardware: clade.Hardware{CPUs: o.cpus, Memory: o.memory, Firmware: clade.Firmware(o.firmware)},
		Network: o.network, IP: o.ip, Isolated: o.isolated}
	if o.cpus < 0 {
		return out, usage(cmd, "--cpus %d: a machine has at least one", o.cpus)
	}
	if f := out.Hardware.Firmware; f != "" && f != clade.BIOS && f != clade.UEFI {
		return out, usage(cmd, "--firmware %q: it is bios or uefi", f)
	}
	if o.hostname != "" {
		name, err := clade.ParseName(o.hostname)
		if err != nil {
			return out, err
		}
		out.Hostname = name
	}
	if o.userData != "" {
		data, err := readSmall("user data", o.userData)
		if err != nil {
			return out, err
		}
		out.UserData = data
	}
	for _, text := range o.data {
		d, err := clade.ParseDataDisk(text)
		if err != nil {
			return out, err
		}
		out.DataDisks = append(out.DataDisks, d)
	}
	for _, key := range o.sshKeys {
		keys, err := readKeys(key)
		if err != nil {
			return out, err
		}
		out.SSHKeys = append(out.SSHKeys, keys...)
	}
	return out, nil
}

// readKeys returns the public keys in a text or in the file it names.
func readKeys(key string) ([]string, error) {
	for _, begin := range []string{"ssh-", "ecdsa-", "sk-"} {
		if strings.HasPrefix(key, begin) && strings.Contains(key, " ") {
			return []string{key}, nil
		}
	}
	data, err := readSmall("SSH key", key)
	if err != nil {
		return nil, err
	}
	var keys []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, "PRIVATE KEY") {
			return nil, &clade.Error{Op: "read", On: "SSH key " + key, Kind: clade.Invalid, Err: errors.New("it is a private key"),
				Hint: "give the public one: " + key + ".pub"}
		}
		if line != "" && line[0] != '#' {
			keys = append(keys, line)
		}
	}
	return keys, nil
}

// readSmall reads a file of at most maxInput bytes that the user named.
func readSmall(what, path string) ([]byte, error) {
	on := what + " " + path
	f, err := os.Open(path)
	if err != nil {
		kind := clade.NotFound
		if os.IsPermission(err) {
			kind = clade.Denied
		}
		return nil, &clade.Error{Op: "read", On: on, Kind: kind, Err: errors.New("the file cannot be opened"), Hint: "check the path"}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	if err != nil {
		return nil, &clade.Error{Op: "read", On: on, Kind: clade.Invalid, Err: err}
	}
	if len(data) > maxInput {
		return nil, &clade.Error{Op: "read", On: on, Kind: clade.Invalid, Err: errors.New("it is larger than 1 MiB"), Hint: "is this the right file?"}
	}
	return data, nil
}
