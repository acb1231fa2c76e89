package identitytest

func machineIDPlants() map[string]Plant {
	return map[string]Plant{
		"machine-id": {
			Files: map[string]string{"etc/machine-id": MachineID + "\n", "var/lib/dbus/machine-id": MachineID + "\n"},
			After: map[string]string{"etc/machine-id": "", "var/lib/dbus/machine-id": None},
		},
	}
}
