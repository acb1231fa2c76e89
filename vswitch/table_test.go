package vswitch

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/clade-vm/clade"
)

func TestPlanIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Plan){
		"no name":              func(p *Plan) { p.Network = "" },
		"no subnet":            func(p *Plan) { p.Subnet = netip.Prefix{} },
		"IPv6":                 func(p *Plan) { p.Subnet = netip.MustParsePrefix("fd00::/64") },
		"subnet too small":     func(p *Plan) { p.Subnet = netip.MustParsePrefix("10.80.0.0/31") },
		"gateway elsewhere":    func(p *Plan) { p.Gateway = netip.MustParseAddr("10.81.0.1") },
		"gateway is broadcast": func(p *Plan) { p.Gateway = netip.MustParseAddr("10.80.255.255") },
		"gateway is the net":   func(p *Plan) { p.Gateway = netip.MustParseAddr("10.80.0.0") },
		"domain":               func(p *Plan) { p.Domain = "a b" },
		"idle":                 func(p *Plan) { p.Idle = -1 },
	} {
		plan := testPlan
		change(&plan)
		err := Run(context.Background(), plan, nil, filepath.Join(newDir(t), "s"), slog.New(slog.DiscardHandler))
		if !errors.Is(err, clade.Invalid) {
			t.Errorf("%s: Run = %v, want %v", name, err, clade.Invalid)
		}
	}
	plan, err := Plan{Network: "lab", Subnet: netip.MustParsePrefix("10.80.7.9/16")}.checked()
	want := Plan{Network: "lab", Subnet: testPlan.Subnet, Gateway: testPlan.Gateway, Domain: DefaultDomain, Idle: DefaultIdle}
	if err != nil || plan != want {
		t.Errorf("defaults = %+v, %v, want %+v", plan, err, want)
	}
	long := filepath.Join(newDir(t), strings.Repeat("x", maxSocketPath))
	if err := Run(context.Background(), testPlan, nil, long, slog.New(slog.DiscardHandler)); !errors.Is(err, clade.Invalid) {
		t.Errorf("Run on a socket path too long = %v, want %v", err, clade.Invalid)
	}
}

func TestPortsAreChecked(t *testing.T) {
	good := Port{Machine: "m1", MAC: "52:54:00:00:00:01", IP: netip.MustParseAddr("10.80.1.1"), Socket: "s"}
	other := Port{Machine: "m2", MAC: "52:54:00:00:00:02", IP: netip.MustParseAddr("10.80.1.2"), Socket: "s2"}
	if _, err := newTable(testPlan, []Port{good, other}, &table{}); err != nil {
		t.Fatalf("good ports: %v", err)
	}
	for name, change := range map[string]func(*Port){
		"no name":          func(p *Port) { p.Machine = "" },
		"name taken":       func(p *Port) { p.Machine = "m1" },
		"no MAC":           func(p *Port) { p.MAC = "" },
		"MAC too long":     func(p *Port) { p.MAC = "00:00:00:00:00:00:00:01" },
		"MAC taken":        func(p *Port) { p.MAC = "52-54-00-00-00-01" },
		"MAC of many":      func(p *Port) { p.MAC = "53:54:00:00:00:02" },
		"MAC of nobody":    func(p *Port) { p.MAC = "00:00:00:00:00:00" },
		"MAC of gateway":   func(p *Port) { p.MAC = GatewayMAC },
		"no address":       func(p *Port) { p.IP = netip.Addr{} },
		"address taken":    func(p *Port) { p.IP = good.IP },
		"another subnet":   func(p *Port) { p.IP = netip.MustParseAddr("10.81.0.2") },
		"gateway's":        func(p *Port) { p.IP = testPlan.Gateway },
		"subnet's own":     func(p *Port) { p.IP = testPlan.Subnet.Addr() },
		"broadcast's":      func(p *Port) { p.IP = netip.MustParseAddr("10.80.255.255") },
		"IPv4 as IPv6":     func(p *Port) { p.IP = netip.MustParseAddr("::ffff:10.80.1.2") },
		"no QEMU's socket": func(p *Port) { p.Socket = "" },
	} {
		bad := other
		change(&bad)
		if _, err := newTable(testPlan, []Port{good, bad}, &table{}); !errors.Is(err, clade.Invalid) {
			t.Errorf("%s: error = %v, want %v", name, err, clade.Invalid)
		}
	}
}

// One machine cannot use up what all share.
func TestFlowsAreBounded(t *testing.T) {
	var f flows
	m1, m2 := netip.MustParseAddr("10.80.1.1"), netip.MustParseAddr("10.80.1.2")
	var ends []func()
	for range flowsPerMachine {
		_, end, ok := f.begin(context.Background(), m1)
		if !ok {
			t.Fatal("a flow within the bound was refused")
		}
		ends = append(ends, end)
	}
	if _, _, ok := f.begin(context.Background(), m1); ok {
		t.Error("one flow too many was begun")
	}
	flow, end, ok := f.begin(context.Background(), m2)
	if !ok {
		t.Fatal("the flows of one machine were counted for another")
	}
	f.cut(m2)
	if flow.Err() == nil {
		t.Error("a flow of a machine that was cut goes on")
	}
	for _, e := range append(ends, end) {
		e()
	}
	f.close()
	if _, _, ok := f.begin(context.Background(), m1); ok {
		t.Error("a flow was begun after the end")
	}
}
