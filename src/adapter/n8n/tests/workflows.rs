//! Workflows.

use super::*;

#[test]
fn every_real_workflow_is_read_and_can_be_imported() {
    let snapshots: Vec<WorkflowSnapshot> = parse_workflows(WORKFLOWS)
        .map(|item| item.result.unwrap())
        .collect();
    assert_eq!(snapshots.len(), 13);
    for (snapshot, line) in snapshots.iter().zip(WORKFLOWS.lines()) {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(snapshot.name().unwrap().as_str(), value["name"]);
        assert_eq!(snapshot.external_id().as_str(), value["id"]);
        assert_eq!(snapshot.active(), value["active"] == json!(true));
        let definition = snapshot.definition().unwrap();
        let kept: Value = serde_json::from_str(definition.as_str()).unwrap();
        assert_eq!(
            kept,
            json!({"nodes": value["nodes"], "connections": value["connections"]})
        );
        let id = Uuid::from_u128(1);
        let made = Workflow::import(id.into(), id.into(), snapshot, None, millis(5)).unwrap();
        assert!(!made.workflow.active, "whatever its source says");
        assert_eq!((made.workflow.version, made.version.version), (1, 1));
        assert_eq!(made.workflow.definition_sha256, definition.sha256());
    }
    let page = format!(
        r#"{{"data": [{}], "nextCursor": null}}"#,
        WORKFLOWS.lines().collect::<Vec<_>>().join(",")
    );
    let page = parse_workflow_page(&page).unwrap();
    let again: Vec<_> = page.items.into_iter().map(|i| i.result.unwrap()).collect();
    assert_eq!(again, snapshots);
}

#[test]
fn a_workflow_brings_its_tags_and_nothing_of_it_is_masked() {
    let json = r#"{"id": 12, "name": "A", "tags": [{"id": "1", "name": "b\u00e9"}, "c"],
        "nodes": [{"name": "N", "type": "t.x", "typeVersion": 1, "position": [0, 0],
        "parameters": {"token": "={{ $json.t }}"}}], "connections": {}, "settings": null}"#;
    let snapshot = parse_workflow(json).unwrap();
    assert_eq!(snapshot.external_id().as_str(), "12");
    assert_eq!(snapshot.tags().unwrap().as_slice(), ["bé", "c"]);
    let definition = snapshot.definition().unwrap();
    assert!(
        definition
            .as_str()
            .contains(r#"{"token": "={{ $json.t }}"}"#)
    );
    for (from, to, error) in [
        (r#""id": 12, "#, "", "`id` is missing"),
        (r#""A""#, "null", "name must not be empty"),
        (
            r#""typeVersion": 1, "#,
            "",
            "definition: `nodes[0].typeVersion` is missing",
        ),
        (
            r#", "connections": {}"#,
            "",
            "definition: `connections` is missing",
        ),
        (
            r#""connections": {}"#,
            r#""connections": {"M": {}}"#,
            "definition: `connections.M` names the node `M`, which does not exist",
        ),
        (
            r#""settings": null"#,
            r#""settings": 5"#,
            "settings must be a JSON object, not a number",
        ),
        (r#""c"]"#, r#""\n"]"#, "tag must not be empty"),
    ] {
        let broken = json.replacen(from, to, 1);
        assert_eq!(parse_workflow(&broken).unwrap_err().to_string(), error);
    }
    assert_eq!(
        parse_workflow("null").unwrap_err().to_string(),
        "`workflow` is missing"
    );
}
