//! The OpenRPC document of the methods, made from the registry and the types themselves.

use super::{ErrorData, Progress, events::EventObject, registry::METHODS};
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// All `$ref`s below a value.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_method_is_in_it_once_and_whole() {
        let document = document();
        let methods = document["methods"].as_array().unwrap();
        let names: BTreeSet<&str> = methods.iter().filter_map(|method| method["name"].as_str()).collect();
        assert_eq!(names, METHODS.iter().map(|method| method.name).collect());
        assert_eq!(methods.len(), names.len(), "two methods have one name");
        for method in methods {
            assert!(method["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{method}");
            assert!(method["result"]["schema"].is_object() && method["params"].is_array(), "{method}");
        }
    }

    #[test]
    fn it_points_to_nothing_that_is_not_there() {
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.contains("#/components/schemas/MessageObject"), "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn parameters_say_whether_they_are_needed() {
        let document = document();
        let send = document["methods"].as_array().unwrap().iter().find(|method| method["name"] == "send").unwrap();
        let required = |name: &str| {
            let params = send["params"].as_array().unwrap();
            params.iter().find(|param| param["name"] == name).unwrap()["required"].as_bool()
        };
        assert_eq!((required("chat"), required("text"), required("offline_ok")), (Some(true), Some(true), Some(false)));
    }
}
