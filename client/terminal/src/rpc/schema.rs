//! The OpenRPC document of the methods, made from the registry and the types themselves.

use super::{ErrorData, Progress, objects::EventObject, registry::METHODS};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The document.
pub(crate) fn document() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let methods: Vec<Value> = METHODS
        .iter()
        .map(|method| {
            json!({
                "name": method.name,
                "summary": method.summary,
                "paramStructure": "by-name",
                "params": params((method.params)(&mut generator).to_value()),
                "result": { "name": "result", "schema": (method.result)(&mut generator) },
                "errors": [{ "$ref": "#/components/errors/failed" }],
            })
        })
        .collect();
    let notifications = json!([
        notification::<EventObject>(&mut generator, "event", "Something happened; after 'subscribe'"),
        notification::<Progress>(&mut generator, "progress", "How far the request with this 'id' has come"),
    ]);
    let data = generator.subschema_for::<ErrorData>();
    let schemas: Map<String, Value> = generator.take_definitions(true);
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "Waxwing",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON-RPC 2.0 on the Unix socket of the process that holds a profile, one object a line. \
                The file 'socket' in the profile's folder names the socket.",
            "license": { "name": "Apache-2.0" },
        },
        "methods": methods,
        "components": {
            "schemas": schemas,
            "errors": {
                "failed": { "code": -32000, "message": "What happened and why, in words", "data": data },
            },
        },
        "x-notifications": notifications,
    })
}

/// The parameters one by one, as OpenRPC wants them.
fn params(schema: Value) -> Vec<Value> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let param = |(name, schema): (&String, &Value)| {
        let required = required.iter().any(|required| required == name);
        json!({ "name": name, "required": required, "schema": schema })
    };
    properties.iter().map(param).collect()
}

fn notification<T: JsonSchema>(generator: &mut SchemaGenerator, name: &str, summary: &str) -> Value {
    json!({ "name": name, "summary": summary, "params": generator.subschema_for::<T>() })
}
