//go:build lab

package main

import "testing"

// TestLabRebase moves a clone that has lived to a version of its template that has
// changed too: it boots, is who it was, and holds what both changed.
func TestLabRebase(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.run("build", "debian-12", "--name", "m")
	h.run("template", "create", "t", "--from", "m")
	h.run("clone", "t:1", "c")
	h.run("start", "m", "c", "--wait", "agent")
	h.run("wait", "c", "--for", "cloud-init")
	h.run("exec", "m", "--", "sh", "-c", "echo theirs > /etc/theirs && rm /etc/debian_version && sync")
	h.run("template", "create", "t", "--from", "m")
	h.run("kill", "m")
	before := h.run("exec", "c", "--", "sh", "-c", "echo mine > /etc/mine && useradd -u 1234 anna && chown anna /etc/mine && sync && cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub")
	h.run("stop", "c")
	h.run("rebase", "c", "--to", "t:2", "--keep-changes", "--conflicts", "clone")
	h.run("start", "c", "--wait", "agent")
	if got := h.run("exec", "c", "--", "sh", "-c", "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"); got != before {
		t.Errorf("after the rebase it is %q, it was %q", got, before)
	}
	if got := h.run("exec", "c", "--", "sh", "-c", "cat /etc/mine /etc/theirs; stat -c %U /etc/mine; ls /etc/debian_version 2>/dev/null; systemctl is-active ssh"); got != "mine\ntheirs\nanna\nactive\n" {
		t.Errorf("after the rebase it says %q, want what both changed and that it serves", got)
	}
	h.run("rebase", "c", "--confirm")
	h.run("verify", "--all")
}
