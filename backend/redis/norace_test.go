//go:build !race

package redis_test

// raceEnabled tells tests that everything takes many times as long.
const raceEnabled = false
