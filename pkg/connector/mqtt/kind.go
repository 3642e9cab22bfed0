package mqtt

import (
	"regexp"
	"slices"
	"strings"

	"github.com/edge-gateway/edge-gateway/pkg/connector"
)

// kindName is the kind's name in the configuration.
const kindName = "mqtt5"

// Kind is delivery to an MQTT broker as the rest of the program knows it.
func Kind() connector.Kind {
	return connector.Kind{Name: kindName, New: NewFactory, Check: checkTopics}
}

// placeholder matches what is filled in in topics.
var placeholder = regexp.MustCompile(`\{[^}]*\}?`)

// checkTopics looks for placeholders that nothing fills in.
func checkTopics(settings map[string]any, found func(path []string, rule, message string)) {
	identity := []string{"{gateway}", "{tenant}", "{device}"}
	check := func(topic any, allowed []string, path ...string) {
		text, _ := topic.(string)
		for _, p := range placeholder.FindAllString(text, -1) {
			if !slices.Contains(allowed, p) {
				found(path, "topic", path[len(path)-1]+": nothing fills in "+p+"; known are "+strings.Join(allowed, ", "))
			}
		}
	}
	check(settings["topic"], append(slices.Clone(identity), "{driver}", "{tag}"), "topic")
	if commands, ok := settings["commands"].(map[string]any); ok {
		check(commands["topic"], identity, "commands", "topic")
		check(commands["reply"], identity, "commands", "reply")
	}
}
