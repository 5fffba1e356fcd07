package main

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"

	"github.com/bits-and-blooms/bloom/v3"
)

const errorRate = 1e-4

// blocklists are filters of one size, so that one hash of a number serves all of them.
type blocklists []*bloom.BloomFilter

// list says whether any of the lists has the number, perhaps falsely (errorRate a list).
func (b blocklists) list(number []byte) bool {
	if len(b) == 1 {
		return b[0].Test(number)
	}
	locations := bloom.Locations(number, b[0].K())
	for _, filter := range b {
		if filter.TestLocations(locations) {
			return true
		}
	}
	return false
}

// loadBlocklists reads the filter of each list from beside its numbers, made there the first time.
func loadBlocklists(lists []string) (blocklists, error) {
	var loaded blocklists
	for _, path := range lists {
		filter, err := readFilter(path + ".bits-and-blooms")
		if errors.Is(err, fs.ErrNotExist) {
			filter, err = buildFilter(path)
		}
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, filter)
	}
	return loaded, nil
}

func readFilter(path string) (*bloom.BloomFilter, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	filter := &bloom.BloomFilter{}
	_, err = filter.ReadFrom(bufio.NewReader(file))
	return filter, err
}

// buildFilter fills a filter with a list's numbers, one a line, and keeps it beside them.
func buildFilter(path string) (*bloom.BloomFilter, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	filter := bloom.NewWithEstimates(uint(bytes.Count(text, []byte("\n"))), errorRate)
	for number := range bytes.Lines(text) {
		filter.Add(bytes.TrimSpace(number))
	}
	var kept bytes.Buffer
	if _, err := filter.WriteTo(&kept); err != nil {
		return nil, err
	}
	// Renamed when it is whole: a peer that is stopped half-way leaves no half filter.
	aside := path + ".aside"
	if err := os.WriteFile(aside, kept.Bytes(), 0o644); err != nil {
		return nil, err
	}
	return filter, os.Rename(aside, path+".bits-and-blooms")
}
