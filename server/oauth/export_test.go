package oauth

// MayCall is whether the server connects to an address: asking it is the only way to
// test public ones without calling them.
var MayCall = mayCall
