package config

import (
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Networks is a list of address ranges. An IPv4 address that arrives in IPv6 clothes
// (::ffff:10.0.0.1) is the IPv4 address here.
type Networks []netip.Prefix

// Contains reports whether an address is in one of the ranges. One with a zone is: the
// zone says on which link it is, not who it is.
func (n Networks) Contains(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	return slices.ContainsFunc(n, func(p netip.Prefix) bool { return p.Contains(address) })
}

// Strings is the list as a settings file writes it.
func (n Networks) Strings() []string {
	list := []string{}
	for _, p := range n {
		list = append(list, p.String())
	}
	return list
}

// everything names the ranges that leave (almost) nothing out.
func (n Networks) everything() []string {
	var list []string
	for _, p := range n {
		if p.Bits() == 0 {
			list = append(list, p.String())
		}
	}
	return list
}

func (f field) decodeNetworks(raw any) (problem, todo string) {
	words, ok := words(raw)
	if !ok {
		return "is not a list of addresses", "write " + f.key + ": [10.0.0.7, 10.1.0.0/16]"
	}
	var list Networks
	for _, word := range words {
		network, problem, todo := parseNetwork(word)
		if problem != "" {
			return problem, todo
		}
		list = append(list, network)
	}
	f.value.Set(reflect.ValueOf(list))
	return "", ""
}

// parseNetwork is strict: a range that a person could read otherwise is refused.
func parseNetwork(text string) (network netip.Prefix, problem, todo string) {
	quoted := strconv.Quote(shorten(text))
	if !strings.Contains(text, "/") {
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return netip.Prefix{}, quoted + " is neither an address nor a network", "write an address such as 10.0.0.7 or a network such as 10.1.0.0/16; names are not looked up"
		}
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), "", ""
	}
	network, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, quoted + " is not a network", "write one such as 10.1.0.0/16 or fd00::/8"
	case network.Addr().Is4In6():
		return netip.Prefix{}, quoted + " is an IPv4 network in IPv6 form", "write it as IPv4, such as 10.1.0.0/16"
	case network != network.Masked():
		return netip.Prefix{}, quoted + " has more digits than its length covers", "write " + network.Masked().String() + " or the one address without a length"
	}
	return network, "", ""
}
