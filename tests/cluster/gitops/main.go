// gitops reads a List of objects as JSON and prints for each, as a JSON line, what tools of GitOps make of it: kstatus by its
// library; Argo CD by a health check in Lua, the file of the first argument, run by the interpreter that Argo CD has.
package main

import (
	"encoding/json"
	"os"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	script, err := os.ReadFile(os.Args[1])
	check(err)
	var list unstructured.UnstructuredList
	check(json.NewDecoder(os.Stdin).Decode(&list))
	out := json.NewEncoder(os.Stdout)
	for i := range list.Items {
		result, err := status.Compute(&list.Items[i])
		check(err)
		check(out.Encode(map[string]string{
			"kstatus": result.Status.String(),
			"argocd":  health(string(script), list.Items[i].Object),
		}))
	}
}

// As argo-cd/util/lua/lua.go does: the object is the global "obj", the answer a table with "status" and "message".
func health(script string, object map[string]interface{}) string {
	l := lua.NewState()
	defer l.Close()
	l.SetGlobal("obj", value(l, object))
	check(l.DoString(script))
	return l.Get(-1).(*lua.LTable).RawGetString("status").String()
}

func value(l *lua.LState, found interface{}) lua.LValue {
	switch it := found.(type) {
	case bool:
		return lua.LBool(it)
	case float64:
		return lua.LNumber(it)
	case int64:
		return lua.LNumber(it)
	case string:
		return lua.LString(it)
	case []interface{}:
		table := l.NewTable()
		for _, item := range it {
			table.Append(value(l, item))
		}
		return table
	case map[string]interface{}:
		table := l.NewTable()
		for key, item := range it {
			table.RawSetString(key, value(l, item))
		}
		return table
	}
	return lua.LNil
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
