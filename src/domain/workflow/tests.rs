//! What a definition accepts, keeps and refuses.

use super::*;

const TWO: &str = r#"{ "connections": {"A": {"main": [[{"node":"B \"c\"","type":"main","index":0}]]}},
  "nodes": [
    {"name":"A","type":"n8n-nodes-base.webhook","typeVersion":2,"position":[0,-1.5],"parameters":{}},
    {"parameters":{"x":"\ud800\u0000"},"id":"i","position":[1,2],"typeVersion":1.1,"type":"n8n-nodes-base.set","name":"B \"c\""}
  ], "pinData": null }"#;

fn refused(from: &str, to: &str) -> String {
    let text = TWO.replacen(from, to, 1);
    assert_ne!(text, TWO);
    WorkflowDefinition::new(&text).unwrap_err().to_string()
}

#[test]
fn a_definition_is_kept_as_it_came() {
    let definition = WorkflowDefinition::new(TWO).unwrap();
    assert_eq!(definition.as_str(), TWO);
    assert_eq!(serde_json::to_string(&definition).unwrap(), TWO);
    let nodes: Vec<_> = definition
        .nodes()
        .iter()
        .map(|node| (node.name.as_str(), node.kind.as_str()))
        .collect();
    assert_eq!(
        nodes,
        [
            ("A", "n8n-nodes-base.webhook"),
            ("B \"c\"", "n8n-nodes-base.set")
        ]
    );
    let empty = WorkflowDefinition::new(r#"{"nodes":[],"connections":{}}"#).unwrap();
    assert_eq!(
        empty.sha256(),
        "39278d6adb2edb75f81386e16e46a03431f16e6bbc929ebdae171ea3fbf90932"
    );
    assert_ne!(empty, definition);
}

#[test]
fn nodes_and_connections_are_taken_out_of_a_workflow_as_they_are() {
    let text = TWO.replacen('{', r#"{"id":"x","name":"W","settings":{"a":1},"#, 1);
    let definition = WorkflowDefinition::of_workflow(&text).unwrap();
    let nodes = &TWO[TWO.find("[\n").unwrap()..TWO.find(", \"pinData").unwrap()];
    assert!(
        definition
            .as_str()
            .starts_with(&format!(r#"{{"nodes":{nodes},"#))
    );
    assert_eq!(definition.nodes().len(), 2);
    assert_eq!(
        WorkflowDefinition::of_workflow(definition.as_str()).unwrap(),
        definition
    );
}

#[test]
fn null_outputs_are_tolerated() {
    for connections in [
        r#"{"main": null}"#,
        r#"{"main": [null, []], "error": []}"#,
        "{}",
    ] {
        let text = TWO.replacen(
            r#"{"main": [[{"node":"B \"c\"","type":"main","index":0}]]}"#,
            connections,
            1,
        );
        assert!(WorkflowDefinition::new(&text).is_ok(), "{connections}");
    }
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    for (from, to, error) in [
        (r#""nodes""#, r#""node""#, "`nodes` is missing"),
        (r#""connections""#, r#""c""#, "`connections` is missing"),
        (r#""name":"A","#, "", "`nodes[0].name` is missing"),
        (
            r#""name":"A""#,
            r#""name":" ""#,
            "`nodes[0].name` must be a text that is not empty",
        ),
        (
            r#""name":"A""#,
            r#""name":7"#,
            "`nodes[0].name` must be a text that is not empty",
        ),
        (
            r#""type":"n8n-nodes-base.set","#,
            "",
            "`nodes[1].type` is missing",
        ),
        (
            r#""typeVersion":2"#,
            r#""typeVersion":"2""#,
            "`nodes[0].typeVersion` must be a number",
        ),
        (r#""position":[1,2],"#, "", "`nodes[1].position` is missing"),
        (
            "[0,-1.5]",
            "[0]",
            "`nodes[0].position` must be an array of two numbers",
        ),
        (
            "[0,-1.5]",
            r#"[0,"1"]"#,
            "`nodes[0].position` must be an array of two numbers",
        ),
        (
            r#""parameters":{}"#,
            r#""parameters":[]"#,
            "`nodes[0].parameters` must be an object",
        ),
        (
            r#""name":"A""#,
            r#""name":"\u0042 \"c\"""#,
            "`nodes[1].name` is `B \"c\"`, which is also the name of `nodes[0]`",
        ),
        (
            r#"{"A": {"main""#,
            r#"{"A b": {"main""#,
            "`connections[\"A b\"]` names the node `A b`, which does not exist",
        ),
        (
            r#"{"node":"B"#,
            r#"{"node":"C"#,
            "`connections.A.main[0][0].node` names the node `C \"c\"`, which does not exist",
        ),
        (
            r#"{"node":"B \"c\"","#,
            "{",
            "`connections.A.main[0][0].node` is missing",
        ),
        (
            r#","index":0"#,
            "",
            "`connections.A.main[0][0].index` is missing",
        ),
        (
            r#""index":0"#,
            r#""index":null"#,
            "`connections.A.main[0][0].index` must be a number",
        ),
        (
            r#""type":"main""#,
            r#""type":"""#,
            "`connections.A.main[0][0].type` must be a text that is not empty",
        ),
        (
            r#"{"main": [[{"#,
            r#"{"main": [1, [{"#,
            "`connections.A.main[0]` must be an array",
        ),
        (
            r#"{"main": [["#,
            r#"{"main": [[1,"#,
            "`connections.A.main[0][0]` must be an object",
        ),
    ] {
        assert_eq!(refused(from, to), format!("definition: {error}"));
    }
    assert_eq!(
        WorkflowDefinition::new("[]").unwrap_err().to_string(),
        "definition: `definition` must be an object"
    );
    assert_eq!(
        WorkflowDefinition::new("{").unwrap_err().to_string(),
        "definition: not JSON: expected a key in quotation marks at byte 1"
    );
}

#[test]
fn size_and_depth_are_bounded() {
    let large = format!("{TWO}{}", " ".repeat(WorkflowDefinition::MAX_BYTES));
    assert!(matches!(
        WorkflowDefinition::new(&large),
        Err(DefinitionError::TooLarge { .. })
    ));
    assert!(matches!(
        WorkflowDefinition::of_workflow(&large),
        Err(DefinitionError::TooLarge { .. })
    ));
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    assert!(refused("null", &deep).starts_with("definition: nested deeper than 1000 levels"));
}

#[test]
fn language_models_are_told_by_their_type() {
    for model in [
        "@n8n/n8n-nodes-langchain.lmChatOpenAi",
        "@n8n/n8n-nodes-langchain.lmChatGoogleGemini",
        "@n8n/n8n-nodes-langchain.lmOllama",
        "@n8n/n8n-nodes-langchain.lmOpenHuggingFaceInference",
        "n8n-nodes-copilot.lmChatGitHubCopilot",
    ] {
        assert!(is_language_model(model), "{model}");
    }
    for other in [
        "@n8n/n8n-nodes-langchain.agent",
        "@n8n/n8n-nodes-langchain.chainLlm",
        "@n8n/n8n-nodes-langchain.embeddingsOpenAi",
        "@n8n/n8n-nodes-langchain.memoryBufferWindow",
        "n8n-nodes-base.lm",
        "n8n-nodes-base.lms",
        "lm.webhook",
        "",
    ] {
        assert!(!is_language_model(other), "{other}");
    }
}
