;; A component that does nothing: what every call pays, whatever a policy does in it.
(component
    (core module $module (func (export "f")))
    (core instance $core (instantiate $module))
    (func (export "f") (canon lift (core func $core "f"))))
