package storagetest

// Count is for this package's own test.
var Count = count
