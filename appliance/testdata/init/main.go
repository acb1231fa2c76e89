// Command init is the smallest program that can be the appliance's init.
package main

import "github.com/clade-vm/clade/appliance/guest"

func main() {
	if guest.Boots() {
		guest.Main()
	}
}
