// The franz-go loop: what a good Go engineer writes to block listed callers.
//
// franz-go, a JSON parser, bits-and-blooms filters, Produce; acks of all replicas and the
// idempotent producer are the client's defaults. The linger is 0 (the client's default is 10 ms),
// because a decision that waits comes late. Offsets are committed by the client every 5 s.
//
// -parser goccy reads each record whole (goccy/go-json into a struct); -parser jsonparser stops
// reading where the caller stands (buger/jsonparser) and reads the other fields only of a decision.
// Neither confirms a hit, so a false positive of the filter (1e-4) blocks an innocent caller.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/buger/jsonparser"
	"github.com/goccy/go-json"
	"github.com/twmb/franz-go/pkg/kgo"
)

// call is what a decision needs of a record.
type call struct {
	CallID string `json:"call_id"`
	Caller string `json:"caller"`
	Callee string `json:"callee"`
}

// decision has the fields that every peer of the benchmark writes.
type decision struct {
	CallID    string    `json:"call_id"`
	Verdict   string    `json:"verdict"`
	Caller    string    `json:"caller"`
	Callee    string    `json:"callee"`
	DecidedAt time.Time `json:"decided_at"`
}

type options struct {
	bootstrap, calls, decisions, group, parser string
	lists                                      paths
	all, build                                 bool
}

// paths is a flag that may be given several times.
type paths []string

func (p *paths) String() string { return fmt.Sprint([]string(*p)) }

func (p *paths) Set(path string) error {
	*p = append(*p, path)
	return nil
}

func main() {
	var o options
	flag.StringVar(&o.bootstrap, "bootstrap", "", "host:port of the broker")
	flag.StringVar(&o.calls, "calls", "", "topic to read")
	flag.StringVar(&o.decisions, "decisions", "", "topic to write")
	flag.StringVar(&o.group, "group", "", "consumer group")
	flag.StringVar(&o.parser, "parser", "goccy", "goccy or jsonparser")
	flag.Var(&o.lists, "list", "a list's numbers, one a line; may be repeated")
	flag.BoolVar(&o.all, "all", false, "send a decision for every call")
	flag.BoolVar(&o.build, "build", false, "only make the lists' filters that are missing")
	flag.Parse()
	if err := run(o); err != nil {
		log.Fatal(err)
	}
}

// run reads calls, looks each caller up and sends decisions until SIGTERM.
func run(o options) error {
	blocklists, err := loadBlocklists(o.lists)
	if err != nil || o.build {
		return err
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.bootstrap),
		kgo.ConsumerGroup(o.group),
		kgo.ConsumeTopics(o.calls),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ProducerLinger(0),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	decide := decideWhole
	if o.parser == "jsonparser" {
		decide = decideEarly
	}
	var failed error
	for ctx.Err() == nil && failed == nil {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 && ctx.Err() == nil {
			return errs[0].Err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			key, value, err := decide(record.Value, blocklists, o.all)
			if err != nil {
				failed = err
			}
			if value != nil {
				client.Produce(ctx, &kgo.Record{Topic: o.decisions, Key: key, Value: value}, lost)
			}
		})
	}
	if failed != nil {
		return failed
	}
	return client.Flush(context.Background())
}

// lost ends the program when a decision could not be written: a lost block is a lost block.
func lost(_ *kgo.Record, err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// decideWhole parses all of a record; it returns no value when there is nothing to send.
func decideWhole(record []byte, blocklists blocklists, all bool) (key, value []byte, err error) {
	var c call
	if err := json.Unmarshal(record, &c); err != nil {
		return nil, nil, err
	}
	caller := []byte(c.Caller)
	verdict, wanted := verdictOn(caller, blocklists, all)
	if !wanted {
		return nil, nil, nil
	}
	value, err = json.Marshal(decision{c.CallID, verdict, c.Caller, c.Callee, time.Now().UTC()})
	return caller, value, err
}

// decideEarly parses no further than to the caller, unless there is something to send.
func decideEarly(record []byte, blocklists blocklists, all bool) (key, value []byte, err error) {
	caller, _, _, err := jsonparser.Get(record, "caller")
	if err != nil {
		return nil, nil, err
	}
	verdict, wanted := verdictOn(caller, blocklists, all)
	if !wanted {
		return nil, nil, nil
	}
	callID, err := jsonparser.GetString(record, "call_id")
	if err != nil {
		return nil, nil, err
	}
	callee, err := jsonparser.GetString(record, "callee")
	if err != nil {
		return nil, nil, err
	}
	value, err = json.Marshal(decision{callID, verdict, string(caller), callee, time.Now().UTC()})
	return caller, value, err
}

func verdictOn(caller []byte, blocklists blocklists, all bool) (verdict string, wanted bool) {
	if blocklists.list(caller) {
		return "block", true
	}
	return "allow", all
}
