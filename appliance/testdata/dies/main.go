// Command dies is an init that does not live.
package main

func main() { panic("planted panic") }
