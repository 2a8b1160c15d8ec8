//! Many commands in one request: `batch`, and the older form in which a command names its method.

use antiphon_hub::code::ErrorCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::{collections::BTreeMap, sync::atomic::Ordering::Relaxed};
use tokio::task::JoinSet;
use utoipa::ToSchema;

use crate::api::{
    call::{Outcome, read},
    error::CallError,
    key::Scopes,
    state::ApiState,
    table,
};

/// Commands of a parallel batch that are carried out at the same time.
const PARALLEL: usize = 16;

/// Many commands.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BatchRequest)]
pub(crate) struct Batch {
    /// The commands: at most `api.max_batch`, 1,000 without another setting. Each is an object with one field: the name
    /// of the call, and its parameters.
    #[schema(value_type = Vec<BTreeMap<String, serde_json::Value>>, max_items = 1000)]
    commands: Vec<Box<RawValue>>,
    /// Whether commands need not wait for those before them.
    parallel: Option<bool>,
}

/// What became of each command, in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BatchAnswer)]
pub(crate) struct Replies {
    /// An object with one field: the name of the call and its result, or `error`.
    #[schema(value_type = Vec<BTreeMap<String, serde_json::Value>>)]
    replies: Vec<Box<RawValue>>,
}

/// A command in the older form.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = OldRequest)]
pub(crate) struct OldCommand {
    /// The name of the call.
    method: String,
    /// Its parameters.
    #[schema(value_type = Option<serde_json::Value>)]
    params: Option<Box<RawValue>>,
}

/// What a command answers by itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reply {
    /// It was done.
    Result(Box<RawValue>),
    /// It was not.
    Error(CallError),
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Ok(result) => Self::Result(result),
            Err(error) => Self::Error(error),
        }
    }
}

/// Carries out a batch.
///
/// # Errors
///
/// It is none, or has too many commands.
pub(crate) async fn batch(
    params: &str,
    scopes: Scopes,
    state: &ApiState,
) -> Result<Replies, CallError> {
    let batch: Batch = read(params)?;
    let most = state.live().max_batch;
    if batch.commands.len() > most {
        return Err(CallError::limit("commands", format!("at most {most}")));
    }
    let commands = batch.commands.into_iter().enumerate();
    let mut replies = Vec::with_capacity(commands.len());
    if batch.parallel == Some(true) {
        let mut commands = commands.peekable();
        while commands.peek().is_some() {
            let mut running = JoinSet::new();
            let first = replies.len();
            for (at, command) in commands.by_ref().take(PARALLEL) {
                let state = state.clone();
                running.spawn(async move { (at, one(at, &command, scopes, &state).await) });
            }
            replies.resize_with(first + running.len(), || None);
            while let Some(done) = running.join_next().await {
                if let Ok((at, reply)) = done
                    && let Some(place) = replies.get_mut(at)
                {
                    *place = Some(reply);
                }
            }
        }
    } else {
        for (at, command) in commands {
            // A long batch leaves others their turns.
            tokio::task::coop::consume_budget().await;
            replies.push(Some(one(at, &command, scopes, state).await));
        }
    }
    let replies = replies.into_iter().map(|reply| {
        let (name, outcome) =
            reply.unwrap_or_else(|| ("error", Err(CallError::internal("failed"))));
        written(name, outcome)
    });
    Ok(Replies {
        replies: replies.collect::<Result<_, _>>()?,
    })
}

async fn one(
    at: usize,
    command: &RawValue,
    scopes: Scopes,
    state: &ApiState,
) -> (&'static str, Outcome) {
    let path = format!("commands[{at}]");
    let outcome = match named(command.get()) {
        Ok((name, params)) => match table::find(&name) {
            Some(row) => {
                let outcome = call(row, params, scopes, state).await;
                let below = |error: CallError| error.below(&format!("{path}.{name}"));
                return match outcome {
                    Ok(result) => (row.name, Ok(result)),
                    Err(error) => ("error", Err(below(error))),
                };
            }
            None => Err(unknown(&name)),
        },
        Err(error) => Err(error.below(&path)),
    };
    if outcome.is_err() {
        state.counters().errors.fetch_add(1, Relaxed);
    }
    ("error", outcome)
}

/// `{"publish": {...}}`, or `{"method": "publish", "params": {...}}`.
fn named(command: &str) -> Result<(String, &str), CallError> {
    let mut fields: BTreeMap<String, &RawValue> = read(command)?;
    if let Some(method) = fields.get("method") {
        let params = fields.get("params").map_or("{}", |params| params.get());
        return Ok((read(method.get())?, params));
    }
    fields.remove("id");
    match (fields.pop_first(), fields.pop_first()) {
        (Some((name, params)), None) => Ok((name, params.get())),
        (Some(_), Some(_)) => Err(CallError::new(
            ErrorCode::BadRequest,
            "several fields in one command",
        )),
        (None, _) => Err(CallError::new(ErrorCode::BadRequest, "no call")),
    }
}

/// Commands in the older form, one behind the other; their replies, one on each line.
///
/// # Errors
///
/// The text is no JSON, or there are too many.
pub(crate) async fn old(text: &str, scopes: Scopes, state: &ApiState) -> Result<String, CallError> {
    let most = state.live().max_batch;
    let mut commands = Vec::new();
    for command in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let command = command.map_err(CallError::no_json)?;
        if commands.len() == most {
            return Err(CallError::limit("commands", format!("at most {most}")));
        }
        commands.push(command);
    }
    if commands.is_empty() {
        return Err(CallError::new(ErrorCode::BadRequest, "no command"));
    }
    let mut replies = String::new();
    for command in commands {
        tokio::task::coop::consume_budget().await;
        let outcome = match read::<OldCommand>(command.get()) {
            Ok(OldCommand { method, params }) => {
                let params = params.as_ref().map_or("{}", |params| params.get());
                match table::find(&method) {
                    Some(row) => call(row, params, scopes, state).await,
                    None => Err(unknown(&method)),
                }
            }
            Err(error) => Err(error),
        };
        if !replies.is_empty() {
            replies.push('\n');
        }
        let reply = serde_json::to_string(&Reply::from(outcome))
            .map_err(|error| CallError::internal(error.to_string()))?;
        replies.push_str(&reply);
    }
    Ok(replies)
}

/// Makes a call if the key may.
pub(crate) async fn call(
    row: &table::Row,
    params: &str,
    scopes: Scopes,
    state: &ApiState,
) -> Outcome {
    let outcome = if scopes.allow(row.scope) {
        (row.run)(params, state).await
    } else {
        state.counters().forbidden.fetch_add(1, Relaxed);
        Err(CallError::new(
            ErrorCode::PermissionDenied,
            format!("the key lacks the scope {}", row.scope.name()),
        ))
    };
    if outcome.is_err() {
        state.counters().errors.fetch_add(1, Relaxed);
    }
    outcome
}

/// 104: there is no such call.
pub(crate) fn unknown(name: &str) -> CallError {
    let name: String = name.chars().take(64).collect();
    CallError::new(ErrorCode::MethodNotFound, format!("no such call: {name:?}"))
}

fn written(name: &str, outcome: Outcome) -> Outcome {
    let reply = match &outcome {
        Ok(result) => serde_json::value::to_raw_value(&BTreeMap::from([(name, result)])),
        Err(error) => serde_json::value::to_raw_value(&BTreeMap::from([("error", error)])),
    };
    reply.map_err(|error| CallError::internal(error.to_string()))
}
