from django.urls import path, register_converter

from ingress.api import catalogue_views, delivery_views, views, what_if_views
from ingress.api.converters import EventTypeConverter

register_converter(EventTypeConverter, "event_type")

urlpatterns = [
    path("events", views.EventList.as_view(), name="events"),
    path("events/what-if", what_if_views.EventWhatIf.as_view(), name="event-what-if"),  # must precede events/<name>
    path("events/<name:name>/trace", what_if_views.EventTrace.as_view(), name="event-trace"),
    path("events/<name:name>", views.EventDetail.as_view(), name="event"),
    path("event-types/what-if", what_if_views.EventTypesWhatIf.as_view(), name="event-types-what-if"),
    path("event-types", catalogue_views.EventTypeList.as_view(), name="event-types"),
    path("event-types/<event_type:name>", catalogue_views.EventTypeDetail.as_view(), name="event-type"),
    path("deliveries", delivery_views.DeliveryList.as_view(), name="deliveries"),
    path("deliveries/redeliver", delivery_views.DeliveriesRedeliver.as_view(), name="deliveries-redeliver"),
    path("deliveries/discard", delivery_views.DeliveriesDiscard.as_view(), name="deliveries-discard"),
    path("deliveries/<uuid:pk>", delivery_views.DeliveryDetail.as_view(), name="delivery"),
]
