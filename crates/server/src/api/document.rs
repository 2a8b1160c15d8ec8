//! The OpenAPI document, made from the table of calls and the types that answer.

use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, LicenseBuilder, ObjectBuilder,
    OneOfBuilder, OpenApiBuilder, PathItem, Paths, Ref, Required, ResponseBuilder, ServerBuilder,
    header::HeaderBuilder,
    path::{Operation, OperationBuilder},
    request_body::RequestBodyBuilder,
    schema::{Schema, Type},
    security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme},
};

use utoipa::ToSchema as _;

use crate::api::{
    batch::{Batch, Replies},
    error::{CallError, ErrorAnswer},
    table::{Named, TABLE, named},
};

const JSON: &str = "application/json";

/// The document of an API at this path, as JSON.
pub(crate) fn document(path: &str) -> Result<String, serde_json::Error> {
    let mut paths = Paths::new();
    let mut schemas: Vec<Named> = vec![
        named::<ErrorAnswer>(),
        named::<CallError>(),
        named::<Batch>(),
        named::<Replies>(),
    ];
    for row in TABLE {
        let types = (row.schemas)();
        let about = format!("{} Scope: `{}`.", row.about, row.scope.name());
        let answer = ObjectBuilder::new()
            .property("result", Ref::from_schema_name(&types.answer))
            .required("result")
            .build();
        let operation = operation(row.name, row.about, &about, &types.request, answer.into());
        paths = paths_with(paths, &format!("/{}", row.name), operation);
        schemas.extend(types.all);
    }
    let replies = Ref::from_schema_name(Replies::name()).into();
    let about =
        "Carries out many commands. A command beyond the key's scopes fails alone, with error 103.";
    let batch = operation("batch", about, about, &Batch::name(), replies);
    paths = paths_with(paths, "/batch", batch);
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .security_scheme(
            "key",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                "X-API-Key",
                "A key of the configuration; `Authorization: apikey KEY` is the same.",
            ))),
        );
    let info = InfoBuilder::new()
        .title("antiphon")
        .description(Some(
            "The HTTP API of an antiphon server. A call that fails answers 200 with `error`, as Centrifugo does; \
             other statuses are for requests that reach no call.",
        ))
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(
            LicenseBuilder::new()
                .name("MIT OR Apache-2.0")
                .identifier(Some("MIT OR Apache-2.0"))
                .build(),
        ));
    let document = OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([ServerBuilder::new()
            .url(if path.is_empty() { "/" } else { path })
            .build()]))
        .paths(paths)
        .components(Some(components.build()))
        .security(Some([SecurityRequirement::new::<_, [&str; 0], &str>(
            "key",
            [],
        )]))
        .build();
    document.to_json()
}

fn paths_with(mut paths: Paths, path: &str, operation: Operation) -> Paths {
    paths
        .paths
        .insert(path.to_owned(), PathItem::new(HttpMethod::Post, operation));
    paths
}

fn operation(
    name: &str,
    summary: &str,
    about: &str,
    request: &str,
    answer: utoipa::openapi::RefOr<utoipa::openapi::Schema>,
) -> Operation {
    let body = RequestBodyBuilder::new()
        .content(JSON, content(Ref::from_schema_name(request).into()))
        .required(Some(Required::True));
    let either = OneOfBuilder::new()
        .item(answer)
        .item(Ref::from_schema_name(ErrorAnswer::name()));
    let done = ResponseBuilder::new()
        .description("Done, or why not.")
        .content(
            JSON,
            ContentBuilder::new()
                .schema(Some(Schema::from(either)))
                .build(),
        );
    let mut operation = OperationBuilder::new()
        .operation_id(Some(name))
        .summary(Some(summary))
        .description(Some(about))
        .request_body(Some(body.build()))
        .response("200", done.build());
    for (status, description) in [
        ("400", "The body is no JSON."),
        ("401", "No key, or a wrong one."),
        ("403", "The key lacks the scope."),
        ("413", "The body is too large."),
        ("429", "Too many wrong keys from this address."),
        ("500", "The server failed."),
    ] {
        let mut response = ResponseBuilder::new().description(description).content(
            JSON,
            content(Ref::from_schema_name(ErrorAnswer::name()).into()),
        );
        if status == "429" {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer);
            let header = HeaderBuilder::new()
                .schema(Some(seconds.build()))
                .description(Some("Seconds to wait."));
            response = response.header("Retry-After", header.build());
        }
        operation = operation.response(status, response.build());
    }
    operation.build()
}

fn content(schema: utoipa::openapi::RefOr<utoipa::openapi::Schema>) -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(schema)).build()
}
