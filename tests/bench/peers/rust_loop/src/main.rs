//! The Rust loop: what a good Rust engineer writes to block listed callers.
//!
//! rdkafka, sonic-rs, fastbloom, produce; acks of all replicas and a linger of 5 ms are the client's
//! defaults (at 0 it sends each decision by itself, and blocks come seconds late). Offsets are committed
//! by the client every 5 s.
//!
//! `--parser whole` reads each record into a struct; `--parser lazy` stops reading where the caller
//! stands, and reads the other fields only of a decision. Neither confirms a hit, so a false positive of
//! the filter (1e-4) blocks an innocent caller.

use std::borrow::Cow;
use std::error::Error;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use fastbloom::BloomFilter;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::ClientContext;
use serde::{Deserialize, Serialize};
use sonic_rs::JsonValueTrait;

const ERROR_RATE: f64 = 1e-4;
const WAIT: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Options {
    bootstrap: String,
    calls: String,
    decisions: String,
    group: String,
    parser: String,
    list: String,
    all: bool,
}

impl Options {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut options = Options::default();
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            if name == "--all" {
                options.all = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--bootstrap" => options.bootstrap = value,
                "--calls" => options.calls = value,
                "--decisions" => options.decisions = value,
                "--group" => options.group = value,
                "--parser" => options.parser = value,
                "--list" => options.list = value,
                _ => return Err(format!("unknown option {name}").into()),
            }
        }
        Ok(options)
    }
}

/// What a decision needs of a record.
#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    call_id: Cow<'a, str>,
    #[serde(borrow)]
    caller: Cow<'a, str>,
    #[serde(borrow)]
    callee: Cow<'a, str>,
}

/// The fields that every peer of the benchmark writes.
#[derive(Serialize)]
struct Decision<'a> {
    call_id: &'a str,
    verdict: &'a str,
    caller: &'a str,
    callee: &'a str,
    decided_at: String,
}

/// Ends the program when a decision could not be written: a lost block is a lost block.
struct NoneLost;

impl ClientContext for NoneLost {}

impl ProducerContext for NoneLost {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

struct Decider {
    list: BloomFilter,
    all: bool,
}

type Outgoing = Option<(String, Vec<u8>)>;

impl Decider {
    /// Parses all of a record; returns nothing when there is nothing to send.
    fn whole(&self, record: &[u8]) -> Result<Outgoing, Box<dyn Error>> {
        let call: Call = sonic_rs::from_slice(record)?;
        self.decided(&call.caller, || {
            Ok((call.call_id.clone(), call.callee.clone()))
        })
    }

    /// Parses no further than to the caller, unless there is something to send.
    fn lazy(&self, record: &[u8]) -> Result<Outgoing, Box<dyn Error>> {
        let text = |name: &str| -> Result<String, Box<dyn Error>> {
            let value = sonic_rs::get(record, &[name])?;
            Ok(value.as_str().ok_or("a field is no text")?.to_owned())
        };
        let caller = sonic_rs::get(record, &["caller"])?;
        let caller = caller.as_str().ok_or("the caller is no text")?;
        self.decided(caller, || {
            Ok((Cow::from(text("call_id")?), Cow::from(text("callee")?)))
        })
    }

    fn decided<'a>(
        &self,
        caller: &str,
        rest: impl FnOnce() -> Result<(Cow<'a, str>, Cow<'a, str>), Box<dyn Error>>,
    ) -> Result<Outgoing, Box<dyn Error>> {
        let listed = self.list.contains(caller);
        if !listed && !self.all {
            return Ok(None);
        }
        let (call_id, callee) = rest()?;
        let decision = Decision {
            call_id: &call_id,
            verdict: if listed { "block" } else { "allow" },
            caller,
            callee: &callee,
            decided_at: Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true),
        };
        Ok(Some((caller.to_owned(), sonic_rs::to_vec(&decision)?)))
    }
}

fn load_list(path: &str) -> Result<BloomFilter, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let mut list = BloomFilter::with_false_pos(ERROR_RATE).expected_items(text.lines().count());
    for number in text.lines() {
        list.insert(number);
    }
    Ok(list)
}

fn produce(
    producer: &BaseProducer<NoneLost>,
    topic: &str,
    key: &str,
    value: &[u8],
) -> Result<(), KafkaError> {
    let mut record = BaseRecord::to(topic).key(key).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                producer.poll(WAIT);
                record = again;
            }
            Err((error, _)) => return Err(error),
        }
    }
}

/// Reads calls, looks each caller up and sends decisions until SIGTERM.
fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse()?;
    let stopped = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&stopped))?;
    let decider = Decider {
        list: load_list(&options.list)?,
        all: options.all,
    };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap)
        .set("group.id", &options.group)
        .set("auto.offset.reset", "earliest")
        .create()?;
    let producer: BaseProducer<NoneLost> = ClientConfig::new()
        .set("bootstrap.servers", &options.bootstrap)
        .create_with_context(NoneLost)?;
    consumer.subscribe(&[&options.calls])?;
    let lazy = options.parser == "lazy";
    while !stopped.load(Ordering::Relaxed) {
        let Some(message) = consumer.poll(WAIT) else {
            producer.poll(Duration::ZERO);
            continue;
        };
        let message = message?;
        let record = message.payload().unwrap_or_default();
        let outgoing = if lazy {
            decider.lazy(record)?
        } else {
            decider.whole(record)?
        };
        if let Some((key, value)) = outgoing {
            produce(&producer, &options.decisions, &key, &value)?;
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(30))?;
    Ok(())
}
