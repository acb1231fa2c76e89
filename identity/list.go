package identity

import "slices"

// A Family is a part of the list that belongs together: the marks of one file of
// this package.
type Family struct {
	Name  string
	About string // one sentence
	Marks []Mark
}

// Families returns the list in its parts, in the order in which they are erased:
// some marks are read with the help of others (the lines of /etc/hosts by the
// hostname, the MACs of what cloud-init wrote after that is gone). Those that are
// Last are at the end.
func Families() []Family {
	families := []Family{
		{"installer", "What the installer of the system wrote down about the master.", installerMarks()},
		{"hostname", "The master's own name, wherever it is written.", hostnameMarks()},
		{"cloud-init", "All that `cloud-init clean --logs --seed --configs all` removes, and what it forgets.", cloudInitMarks()},
		{"network", "What ties the network to the master's card, name and connections.", networkMarks()},
		{"addresses", "Addresses of the master's own.", addressMarks()},
		{"dhcp", "Leases, and the ids by which DHCP servers know a machine.", dhcpMarks()},
		{"vpn", "Identities in private networks.", vpnMarks()},
		{"ssh", "Keys of SSH, of the machine and of its users.", sshMarks()},
		{"tls", "Keys and certificates that were made for the master.", tlsMarks()},
		{"random", "Seeds of random numbers, and keys that systemd made for the machine.", randomMarks()},
		{"clock", "What was learnt about the master's clock.", clockMarks()},
		{"storage", "Names by which storage knows a machine, and a machine its disks.", storageMarks()},
		{"directory", "Membership in domains.", directoryMarks()},
		{"services", "Identities of servers that run in the guest.", serviceMarks()},
		{"containers", "Container engines and the clusters over them.", containerMarks()},
		{"clusters", "Nodes of schedulers and of service discovery.", clusterMarks()},
		{"management", "Agents of configuration management and of clouds.", managementMarks()},
		{"monitoring", "Agents of monitoring and of logs.", monitoringMarks()},
		{"security", "Agents of security products, and their state.", securityMarks()},
		{"subscriptions", "Registrations with vendors, and ids that are sent to them.", subscriptionMarks()},
		{"accounts", "Traces of the machine's accounts. The accounts themselves stay.", accountMarks()},
		{"homes", "Traces in the homes of all users: those in /etc/passwd, /root, and all in /home.", homeMarks()},
		{"desktop", "Traces of graphical sessions and of remote desktops.", desktopMarks()},
		{"credentials", "Credentials of users. Off: an administrator may have meant them for the clones.", credentialMarks()},
		{"packages", "Caches and states of package managers.", packageMarks()},
		{"spools", "Work that waits, and would be done by every clone.", spoolMarks()},
		{"files", "Files that were left behind.", fileMarks()},
		{"logs", "The master's past.", logMarks()},
		{"machine-id", "The id that all else is derived from. It is erased last.", machineIDMarks()},
	}
	for _, f := range families {
		for i := range f.Marks {
			f.Marks[i].Family = f.Name
		}
	}
	return families
}

// Compared returns the marks that twins are compared by: all but residue, whose
// findings have no value.
func Compared() []Mark {
	return slices.DeleteFunc(All(), func(m Mark) bool { return m.Kind == Residue })
}

// All returns every mark, in the order of Families.
func All() []Mark {
	var all []Mark
	for _, f := range Families() {
		all = append(all, f.Marks...)
	}
	return all
}
